"""Sign in by choosing a name that nobody uses, sign out by giving it back."""

from __future__ import annotations

from django.contrib.auth import login, logout
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from accounts.forms import NameForm
from accounts.names import name_key


@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Ask for a name; make the user behind it, and go to where the person came from."""
    onward = _onward(request)
    if request.user.is_authenticated:
        return redirect(onward)
    form = NameForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        name = form.cleaned_data["name"]
        user = User(username=f"guest:{name_key(name)}"[:150], first_name=name)
        user.set_unusable_password()
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError:
            form.add_error("name", f"Somebody is already called {name}. Choose another name.")
        else:
            login(request, user, backend="django.contrib.auth.backends.ModelBackend")
            return redirect(onward)
    status = 400 if request.method == "POST" else 200
    return render(request, "accounts/sign_in.html", {"form": form, "next": onward}, status=status)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Forget the person, so that the name is free again; what they wrote stays."""
    user = request.user
    logout(request)
    if user.is_authenticated:
        User.objects.filter(pk=user.pk, username__startswith="guest:").delete()
    return redirect("home")


def _onward(request: HttpRequest) -> str:
    """Where to go after signing in; only addresses of this site."""
    target = request.POST.get("next") or request.GET.get("next") or ""
    if url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return target
    return resolve_url("home")
