"""Pictures inside an HTML page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from crm_assets.reporting.plots.drawing import Drawing
from crm_assets.reporting.plots.style import INK

__all__ = ["inline_svg"]

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def inline_svg(drawing: Drawing) -> str:
    """Return the picture as an `<svg>` element: text in the color of the page, IDs of its own.

    Several fit into one page, where an ID must not occur twice. The caption is its label.
    """
    # The document is our own (matplotlib wrote it) and names no entities; parsing drops its comments.
    root = ElementTree.fromstring(drawing.svg)  # noqa: S314
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{_SVG}metadata", f"{_SVG}style", f"{_SVG}title"}:
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.attrib = dict(_attributes(element, drawing.name))
    # In place of the <style> that matplotlib writes, which would hold for the whole page.
    root.attrib |= {"stroke-linejoin": "round", "stroke-linecap": "butt"}
    root.attrib |= {"role": "img", "aria-label": drawing.caption}
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(element: ElementTree.Element, name: str) -> Iterator[tuple[str, str]]:
    for key, value in element.attrib.items():
        if key == "id":
            yield key, f"{name}-{value}"
        elif key == _HREF and value.startswith("#"):
            yield "href", f"#{name}-{value[1:]}"
        else:
            yield key, _REFERENCE.sub(rf"url(#{name}-\1)", value).replace(INK, "currentColor")
