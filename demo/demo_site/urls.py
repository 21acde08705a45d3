"""Which page answers which address."""

from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="chat:index"), name="home"),
    path("", include("accounts.urls")),
    path("chat/", include("chat.urls")),
]
