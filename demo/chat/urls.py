"""Addresses of the chat."""

from django.urls import path

from chat import views

app_name = "chat"
urlpatterns = [
    path("", views.index, name="index"),
    path("new/", views.new_room, name="new-room"),
    path("room/<str:slug>/", views.room, name="room"),
    path("room/<str:slug>/post/", views.post_message, name="post"),
]
