"""The settings' page is written from the settings."""

from tools import settings_page


def test_the_settings_page_says_what_the_settings_say() -> None:
    """Whoever changes a setting or its documentation runs `python -m tools.settings_page`."""
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page()
