"""The form that asks for a name."""

from __future__ import annotations

from django import forms
from django.core.exceptions import ValidationError

from accounts.names import MAX_NAME_LENGTH, NameRefused, clean_name


class NameForm(forms.Form):
    """One field: the name under which others see you."""

    name = forms.CharField(
        label="Your name",
        error_messages={"required": "Write a name first."},
        # The browser's own limit; clean_name counts after trimming.
        widget=forms.TextInput(
            attrs={"autocomplete": "nickname", "autofocus": True, "maxlength": MAX_NAME_LENGTH}
        ),
    )

    def clean_name(self) -> str:
        """The name as it will be shown."""
        try:
            return clean_name(self.cleaned_data["name"])
        except NameRefused as error:
            raise ValidationError(str(error)) from error
