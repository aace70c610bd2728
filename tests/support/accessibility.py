"""Measurements of a page in a browser for WCAG 2.2: contrast, size of targets, and elements without a name.

The constants are JavaScript functions for ``Page.evaluate`` of Playwright.
"""

from __future__ import annotations

# Each visible text: its colour, its font size in pixels, and the background colours behind it, the nearest first.
FIND_TEXTS = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
    const style = getComputedStyle(element), behind = [];
    for (let e = element; e; e = e.parentElement) behind.push(getComputedStyle(e).backgroundColor);
    found.push({text: node.data.trim(), color: style.color, behind, size: parseFloat(style.fontSize)});
  }
  return found;
}"""
# The size in pixels of each visible button, field and link that looks like a button; of a checkbox, its label's size,
# for a click on the label ticks the box.
FIND_TARGETS = """() => [...document.querySelectorAll('button, input:not([type=hidden]), a.button')]
  .filter(e => e.checkVisibility()).map(e => {
  const box = (e.type === 'checkbox' ? e.labels[0] : e).getBoundingClientRect();
  return {id: e.id || e.name || e.textContent, width: box.width, height: box.height};
})"""
# The HTML of each field, button, link and image that has neither a label, nor text, nor an alternative text.
FIND_NAMELESS_ELEMENTS = """() => [...document.querySelectorAll('input:not([type=hidden]), button, a, img')]
  .filter(e => !(e.labels && e.labels.length) && !e.textContent.trim() && !e.hasAttribute('alt'))
  .map(e => e.outerHTML)"""

WHITE: tuple[float, ...] = (255, 255, 255)


def contrast_ratio(color: str, backgrounds: list[str]) -> float:
    """Return the contrast of a text with its background, from 1 to 21 (WCAG 2.2 §1.4.3).

    :param color: the CSS colour of the text.
    :param backgrounds: the CSS colours behind the text, the nearest first; transparent ones show the next.
    """
    background = WHITE
    for layer in reversed(backgrounds):
        background = _blend(parse_color(layer), background)
    text = _blend(parse_color(color), background)
    lighter, darker = sorted((relative_luminance(text), relative_luminance(background)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def parse_color(color: str) -> tuple[float, ...]:
    """Return red, green, blue (0 to 255) and alpha (0 to 1) of a computed CSS colour, ``rgb(...)`` or ``rgba(...)``."""
    numbers = [float(part) for part in color[color.index("(") + 1 : -1].replace(",", " ").replace("/", " ").split()]
    return tuple([*numbers, 1.0][:4])


def relative_luminance(color: tuple[float, ...]) -> float:
    """Return the relative luminance of an opaque colour, 0 for black and 1 for white (WCAG 2.2)."""
    shares = [part / 255 for part in color]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _blend(color: tuple[float, ...], background: tuple[float, ...]) -> tuple[float, ...]:
    """Return the opaque colour that a colour with an alpha value has on an opaque background."""
    alpha = color[3]
    return tuple(alpha * front + (1 - alpha) * back for front, back in zip(color[:3], background, strict=True))
