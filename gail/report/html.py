"""Self-contained pages: templates, embedded videos."""

from __future__ import annotations

import base64
import datetime
import io
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import imageio_ffmpeg  # type: ignore[import-untyped]
import jinja2
from markupsafe import Markup
from PIL import Image

from gail.core.errors import InputError


@dataclass(frozen=True)
class Video:
    """A video with its first picture, as data URIs."""

    label: str
    source: Markup
    poster: Markup
    width: int
    height: int


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI."""

    source: Markup
    width: int
    height: int


def render(template: str, **values: Any) -> str:
    """A page from one of this folder's templates; every value is escaped but figures, through the filter ``svg``."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gail.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = Markup
    today = datetime.date.today().isoformat()
    return environment.get_template(template).render(date=today, version=_version(), **values)


def embed_video(label: str, path: Path) -> Video:
    """The video of a file, ready to be embedded.

    Raises:
        InputError: where it cannot be read or is no video.
    """
    try:
        data = path.read_bytes()
        reader = imageio_ffmpeg.read_frames(str(path))
        width, height = next(reader)["size"]
        image = Image.frombytes("RGB", (width, height), next(reader))
        reader.close()
    except OSError as error:
        raise InputError(f"{path}: the video {label!r} cannot be read ({error.strerror or 'no video in it'})") from None
    except (RuntimeError, StopIteration, ValueError):
        raise InputError(f"{path}: the video {label!r} cannot be decoded, expected an mp4 file") from None
    poster = io.BytesIO()
    image.save(poster, "JPEG", quality=80, optimize=True)
    return Video(label, _data_uri("video/mp4", data), _data_uri("image/jpeg", poster.getvalue()), width, height)


def embed_picture(path: Path) -> Picture:
    """The picture of a PNG file, ready to be embedded.

    Raises:
        InputError: where it cannot be read or is none.
    """
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            width, height = image.size
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a PNG picture, cannot be read ({error})") from None
    return Picture(_data_uri("image/png", data), width, height)


def _data_uri(kind: str, data: bytes) -> Markup:
    return Markup(f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}")


def _version() -> str:
    try:
        return metadata.version("gail-toolkit")
    except metadata.PackageNotFoundError:
        return ""
