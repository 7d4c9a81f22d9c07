"""Plots with logarithmic scales, as SVG."""

from html import escape
from math import ceil, floor, log10

# Told apart by most eyes, also in grey; the first is the one that the plots are about.
COLOURS = ["#d1495b", "#30638e", "#edae49", "#00798c", "#8d6a9f", "#6a994e", "#8a817c",
           "#003d5b", "#bc6c25", "#5f0f40", "#4cc9f0", "#a3b18a", "#e07a5f"]
STYLE = "text{font:12px sans-serif;fill:#222}.title{font-weight:bold}.small{font-size:11px}line{stroke:#ccc}"


def page(width, height, parts):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">\n'
        f'<style>{STYLE}</style>\n<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def text(x, y, words, kind="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1, y1, x2, y2, style=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{style and f" style={chr(34)}{style}{chr(34)}"}/>'


class Scale:
    """Whole decades around all values, which are above 0, on so many pixels from the first one."""

    def __init__(self, values, first, pixels):
        self.low, self.high = floor(log10(min(values))), ceil(log10(max(values)))
        self.high += self.low == self.high
        self.first, self.pixels = first, pixels

    def __call__(self, value):
        return self.first + (log10(value) - self.low) / (self.high - self.low) * self.pixels

    def ticks(self):
        return [10.0**power for power in range(self.low, self.high + 1)]


def bars(panels, peers, show):
    """`panels`: a title, and for each peer the median, smallest and largest, or none."""
    width, label, bar, step = 470, 140, 240, 17
    height = 48 + step * len(peers)
    parts = []
    for number, (title, spreads) in enumerate(panels):
        left, top = 10 + number % 2 * (width + 10), 10 + number // 2 * (height + 10)
        parts.append(text(left, top + 14, title, "title small"))
        values = [value for spread in spreads.values() if spread for value in spread if value > 0]
        scale = Scale(values or [1], left + label, bar)
        bottom = top + 24 + step * len(peers)
        for tick in scale.ticks():
            parts.append(line(scale(tick), top + 22, scale(tick), bottom))
            parts.append(text(scale(tick), bottom + 13, f"{tick:g}", "small", "middle"))
        for row, name in enumerate(peers):
            y = top + 24 + step * row
            parts.append(text(left + label - 6, y + 11, name, "small", "end"))
            spread = spreads.get(name)
            if spread is None:
                parts.append(text(left + label + 4, y + 11, "-", "small"))
                continue
            median, low, high = spread
            end = left + label
            # Nothing at all has no place on such a scale.
            if median > 0:
                end = max(scale(median), left + label + 1)
                colour = COLOURS[row % len(COLOURS)]
                parts.append(
                    f'<rect x="{left + label}" y="{y + 2}" width="{end - left - label:.1f}" height="{step - 5}" fill="{colour}"/>')
                if low > 0:
                    parts.append(line(scale(low), y + 7.5, scale(high), y + 7.5, "stroke:#222"))
                    end = max(end, scale(high))
            parts.append(text(end + 4, y + 11, show(median), "small"))
    return page(2 * width + 30, 10 + (len(panels) + 1) // 2 * (height + 10), parts)


def lines(panels, peers, show):
    """`panels`: a title, what is to the right, and for each peer points of x, median, smallest and largest."""
    width, height, margin = 460, 330, 60
    parts = []
    for number, (title, below, series) in enumerate(panels):
        left, top = number * width + margin, 30
        points = [point for found in series.values() for point in found]
        if not points:
            continue
        across = Scale([point[0] for point in points], left, width - margin - 20)
        up = Scale([value for point in points for value in point[1:]], top + height - 80, 80 - height)
        parts.append(text(left, top - 10, title, "title"))
        for tick in across.ticks():
            parts.append(line(across(tick), top, across(tick), top + height - 80))
            parts.append(text(across(tick), top + height - 64, f"{tick:,.0f}", "small", "middle"))
        for tick in up.ticks():
            parts.append(line(left, up(tick), left + width - margin - 20, up(tick)))
            parts.append(text(left - 5, up(tick) + 4, f"{tick:g}", "small", "end"))
        parts.append(text(left + (width - margin - 20) / 2, top + height - 46, below, "small", "middle"))
        for row, name in enumerate(peers):
            colour = COLOURS[row % len(COLOURS)]
            found = series.get(name, [])
            path = " ".join(f"{across(x):.1f},{up(median):.1f}" for x, median, _, _ in found)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{3 if row == 0 else 1.5}"/>')
            for x, median, low, high in found:
                parts.append(line(across(x), up(low), across(x), up(high), f"stroke:{colour}"))
                parts.append(
                    f'<circle cx="{across(x):.1f}" cy="{up(median):.1f}" r="3" fill="{colour}">'
                    f"<title>{escape(name)}: {x:,}: {show(median)}</title></circle>")
    across = max(width * len(panels) + 20, 560)
    for row, name in enumerate(peers):
        x, y = 20 + row % 4 * (across - 20) / 4, height + 12 + row // 4 * 18
        parts.append(f'<rect x="{x:.1f}" y="{y - 9}" width="12" height="10" fill="{COLOURS[row % len(COLOURS)]}"/>')
        parts.append(text(x + 16, y, name, "small"))
    return page(across, height + 20 + (len(peers) + 3) // 4 * 18, parts)
