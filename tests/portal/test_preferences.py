"""Preferences: what a browser remembers, and what each page makes of it."""

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse

PAGE = reverse("portal:preferences")


def test_a_new_browser_follows_the_device_and_uses_single_keys(client: Client, db: None) -> None:
    text = client.get(PAGE).content.decode()

    chosen = [tag for tag in text.split("<input") if "checked" in tag]
    assert ['value="system"' in chosen[0], 'name="single_keys"' in chosen[1], len(chosen)] == [True, True, 2]


def test_theme_and_keys_are_remembered(client: Client, db: None) -> None:
    answer = client.post(PAGE, {"theme": "dark"}, follow=True)

    text = answer.content.decode()
    assert 'data-theme="dark"' in text
    assert "Your preferences are saved in this browser." in text
    assert client.cookies["single_keys"].value == "off"
    assert not client.cookies["single_keys"]["httponly"]


def test_going_back_to_the_defaults_leaves_no_cookie(client: Client, db: None) -> None:
    client.post(PAGE, {"theme": "light"})

    client.post(PAGE, {"theme": "system", "single_keys": "on"})

    assert (client.cookies["theme"].value, client.cookies["single_keys"].value) == ("", "")
    assert "data-theme" not in client.get(PAGE).content.decode().split("<head>")[0]


@pytest.mark.parametrize("theme", ["", "sepia"])
def test_an_unknown_theme_is_refused_and_changes_nothing(client: Client, db: None, theme: str) -> None:
    answer = client.post(PAGE, {"theme": theme})

    assert answer.status_code == 422
    assert "theme" not in client.cookies


def test_the_icon_has_an_address_that_browsers_try_by_themselves(client: Client, db: None) -> None:
    answer = client.get("/favicon.ico")

    assert answer.status_code == 302
    assert answer["Location"] == "/static/portal/img/favicon.svg"
    assert finders.find("portal/img/favicon.svg")
