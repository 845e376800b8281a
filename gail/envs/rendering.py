"""Frames without a display, and without OpenGL where the machine has none; imports no torch.

MuJoCo draws with OpenGL through EGL, OSMesa or a window, and no wheel brings such a library: on a plain server its
renderer cannot start. There, and where EGL would run in software, bodies are drawn from the simulation's geometry with
Pillow: a side view in the x-z plane, in which the planar robots (Hopper, Walker2d, HalfCheetah, InvertedPendulum) move.
"""

from __future__ import annotations

import functools
import glob
import os
import sys
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Frame = NDArray[np.uint8]

_SUPERSAMPLING = 2
_SKY, _GROUND, _MARK = (226, 234, 242), (156, 163, 175), (110, 117, 130)
_PLANE, _SPHERE, _CAPSULE, _ELLIPSOID, _CYLINDER, _BOX = 0, 2, 3, 4, 5, 6  # mujoco.mjtGeom


def prepare_headless() -> None:
    """Let pygame draw, and MuJoCo look for EGL, where there is no display; settings that exist are kept."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        if _egl_works():
            os.environ.setdefault("MUJOCO_GL", "egl")


@functools.cache
def _egl_works() -> bool:
    # Without a graphics device EGL falls back to software, ten times slower than the side view.
    if not any(glob.glob(pattern) for pattern in ("/dev/dri/renderD*", "/dev/nvidia[0-9]*")):
        return False
    try:
        from mujoco.egl import GLContext

        GLContext(16, 16).free()
    except Exception:  # a missing library shows as ImportError, AttributeError or a driver's own error
        return False
    return True


def render_frame(env: gym.Env) -> Frame:
    """An RGB frame ``[H, W, 3]`` of an environment that was made with ``render_mode="rgb_array"``."""
    bare: Any = env.unwrapped
    model, data = getattr(bare, "model", None), getattr(bare, "data", None)
    if model is not None and data is not None and hasattr(data, "geom_xpos"):
        if "MUJOCO_GL" not in os.environ and not os.environ.get("DISPLAY") and sys.platform.startswith("linux"):
            return draw_side_view(model, data, getattr(bare, "width", 480), getattr(bare, "height", 480))
    return np.asarray(env.render(), dtype=np.uint8)


def draw_side_view(model: Any, data: Any, width: int = 480, height: int = 480) -> Frame:
    """Draw a MuJoCo state from the side, the x axis to the right and z up, following the first body.

    Args:
        model: a ``mujoco.MjModel``.
        data: its ``mujoco.MjData``, after a step or ``mj_forward``.
        width: pixels.
        height: pixels.

    Returns:
        An RGB frame ``[height, width, 3]``.
    """
    wide, high = width * _SUPERSAMPLING, height * _SUPERSAMPLING
    bodies = np.flatnonzero(model.geom_type != _PLANE)
    reach = float(model.geom_rbound[bodies].max()) if len(bodies) else 1.0
    span = max(3.0, 6.0 * reach)  # metres from the lower to the upper edge
    scale = high / span
    x, _, z = (float(value) for value in data.xpos[1])
    ground = _ground_height(model, data)
    left = x - wide / scale / 2
    # The floor stays where it is until the body climbs above the upper third.
    bottom = z - span / 2 if ground is None else max(ground - 0.2 * span, z - 0.7 * span)

    def pixel(points: NDArray[np.float64]) -> list[tuple[float, float]]:
        return [((p[0] - left) * scale, high - (p[2] - bottom) * scale) for p in np.atleast_2d(points)]

    image = Image.new("RGB", (wide, high), _SKY)
    draw = ImageDraw.Draw(image)
    if ground is not None:
        level = pixel(np.array([0.0, 0.0, ground]))[0][1]
        draw.rectangle((0, level, wide, high), fill=_GROUND)
        # Marks every half metre: against a bare floor nobody sees that the camera follows.
        for mark in np.arange(np.ceil(left * 2) / 2, left + wide / scale, 0.5):
            at = pixel(np.array([mark, 0.0, ground]))[0][0]
            draw.line((at, level, at - 0.06 * scale, level + 0.12 * scale), fill=_MARK, width=_SUPERSAMPLING * 2)
    # The farthest first: the viewer looks along +y.
    for geom in sorted(bodies.tolist(), key=lambda index: -data.geom_xpos[index, 1]):
        color = tuple(int(255 * c) for c in _color(model, geom))
        _draw_geom(draw, model, data, geom, pixel, scale, color)
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS), dtype=np.uint8)


def _ground_height(model: Any, data: Any) -> float | None:
    planes = np.flatnonzero(model.geom_type == _PLANE)
    return float(data.geom_xpos[planes[0], 2]) if len(planes) else None


def _color(model: Any, geom: int) -> Any:
    # MuJoCo's rule: a material's color shows unless the geom has one that is not the default grey.
    material, own = model.geom_matid[geom], model.geom_rgba[geom]
    default = material >= 0 and np.allclose(own, (0.5, 0.5, 0.5, 1.0))
    return (model.mat_rgba[material] if default else own)[:3]


def _draw_geom(
    draw: ImageDraw.ImageDraw, model: Any, data: Any, geom: int, pixel: Any, scale: float, color: Any
) -> None:
    center, rotation = data.geom_xpos[geom], data.geom_xmat[geom].reshape(3, 3)
    kind, size = int(model.geom_type[geom]), model.geom_size[geom]
    edge = tuple(int(0.6 * c) for c in color)
    if kind == _BOX:
        corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * size
        draw.polygon(_hull(pixel(center + corners @ rotation.T)), fill=color, outline=edge)
        return
    if kind not in (_SPHERE, _CAPSULE, _ELLIPSOID, _CYLINDER):
        return  # meshes and height fields have no outline to draw
    radius = float(size[0])
    half = float(size[1]) if kind in (_CAPSULE, _CYLINDER) else 0.0
    ends = pixel(np.stack([center - half * rotation[:, 2], center + half * rotation[:, 2]]))
    for grow, paint in ((0.0, edge), (-2.0 * _SUPERSAMPLING, color)):
        r = max(radius * scale + grow / 2, 1.0)
        draw.line(ends, fill=paint, width=max(int(2 * r), 1))
        for x, y in ends:
            draw.ellipse((x - r, y - r, x + r, y + r), fill=paint)


def _hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The convex hull of points in the plane (Andrew's monotone chain)."""
    points = sorted(set(points))

    def half(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
        chain: list[tuple[float, float]] = []
        for p in ordered:
            while (
                len(chain) > 1
                and (
                    (chain[-1][0] - chain[-2][0]) * (p[1] - chain[-2][1])
                    - (chain[-1][1] - chain[-2][1]) * (p[0] - chain[-2][0])
                )
                <= 0
            ):
                chain.pop()
            chain.append(p)
        return chain[:-1]

    return half(points) + half(points[::-1])
