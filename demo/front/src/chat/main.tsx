import { render } from "preact";
import "./chat.css";
import type { PageData } from "./protocol";
import { Room } from "./room";
import { RoomView } from "./view";

const data = document.getElementById("page");
const root = document.getElementById("app");
if (!data || !root) throw new Error("The room's template lacks #page or #app.");
const room = new Room(JSON.parse(data.textContent) as PageData);
root.textContent = "";
render(<RoomView room={room} />, root);
