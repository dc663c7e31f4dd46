"""The watermark across the images: who looks, and when. The time is filled in by the page, so that it goes on."""

from string import Formatter

from imaging_common.access import Subject

FIELDS = frozenset({"name", "user", "hospital", "time"})


def check_pattern(text: str) -> str:
    """A pattern of the settings.

    Raises
    ------
    ValueError
        It names something else than `FIELDS`.
    """
    names = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
    if unknown := names - FIELDS:
        raise ValueError(f"a watermark has no {', '.join(sorted(unknown))}; it knows {', '.join(sorted(FIELDS))}")
    return text


def watermark_of(pattern: str, subject: Subject, name: str, hospital: str) -> str:
    """The text for one reader, with `{time}` left in it; a name that is the user's id is shown once.

    A launch's session shows the user that the EHR named, a share link's the link: what its claims say.
    """
    shown = name if name != subject.user else ""
    return " ".join(pattern.format(name=shown, user=subject.user, hospital=hospital, time="{time}").split())
