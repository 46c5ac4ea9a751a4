"""The canvas that birds are drawn on, and the shapes they are drawn with.

Shapes are given in the bird's own frame (facing right, y down, about 2 units long) and pass through one affine map:
the pose.
"""

import numpy as np
from PIL import Image, ImageDraw

INK = (38, 34, 44)
WHITE = (252, 250, 244)


class Scene:
    """A supersampled canvas, its part map, and the pose that takes the bird's frame to pixels."""

    def __init__(self, size, rng, part_names):
        self.rng = rng
        self.part_names = part_names
        self.size = size
        self.pixels = size * max(2, 256 // size)
        self._set_canvas(Image.new("RGB", (self.pixels, self.pixels)), Image.new("L", (self.pixels, self.pixels)))
        self.pose = np.eye(2) * self.pixels
        self.origin = np.zeros(2)
        self._part = 0

    def _set_canvas(self, image, part_map):
        self.image, self.part_map = image, part_map
        self._draw, self._draw_map = ImageDraw.Draw(image), ImageDraw.Draw(part_map)

    def paint_background(self, image):
        """Start from `image`, enlarged to the canvas."""
        canvas = image.resize((self.pixels, self.pixels), Image.Resampling.BICUBIC)
        self._set_canvas(canvas, self.part_map)

    def _to_pixels(self, points):
        return [tuple(p) for p in (np.asarray(points) @ self.pose.T + self.origin).tolist()]

    def take_pose(self):
        """Draw facing, rotation, scale and position of the bird."""
        angle = np.deg2rad(self.rng.uniform(-11, 11))
        scale = self.pixels * self.rng.uniform(0.39, 0.43)
        facing = self.rng.choice([-1.0, 1.0])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        self.pose = scale * turn @ np.diag([facing, 1.0])
        self.origin = self.pixels * (0.5 + self.rng.uniform(-0.035, 0.035, 2))

    def part(self, name, draw):
        """Let `draw` paint a part; what it covers counts as that part."""
        self._part = self.part_names.index(name) + 1
        draw(self)
        self._part = 0

    def shape(self, points, fill, outline=True):
        """Fill a polygon given in the current frame, with a darker contour that keeps parts apart at small sizes."""
        corners = self._to_pixels(points)
        self._draw.polygon(corners, fill=fill)
        if outline:
            width = max(1, round(0.007 * self.pixels))
            self._draw.line([*corners, corners[0]], fill=shade(fill, 0.62), width=width, joint="curve")
        self._draw_map.polygon(corners, fill=self._part)

    def stroke(self, points, fill, width):
        """Draw a line with round joints; `width` in units of the frame. Lines decorate: the part map ignores them."""
        corners = self._to_pixels(points)
        pixels = max(1, round(width * np.linalg.norm(self.pose[:, 1])))
        self._draw.line(corners, fill=fill, width=pixels, joint="curve")

    def clipped(self, outline, draw):
        """Let `draw` paint a pattern that stays inside `outline`."""
        before, map_before = self.image.copy(), self.part_map.copy()
        draw(self)
        mask = Image.new("L", self.image.size)
        corners = self._to_pixels(outline)
        ImageDraw.Draw(mask).polygon(corners, fill=255)
        self._set_canvas(Image.composite(self.image, before, mask), Image.composite(self.part_map, map_before, mask))

    def _small_map(self):
        """The part map at the final size, `[S, S]`."""
        step = self.pixels // self.size
        return np.asarray(self.part_map)[step // 2 :: step, step // 2 :: step]

    def part_areas(self):
        """Pixels of each part that are uncovered, `[P]`."""
        return np.bincount(self._small_map().ravel(), minlength=len(self.part_names) + 1)[1:]

    def part_centres(self):
        """Centre of each part as (x, y) fractions `[P, 2]`, moved onto the part where its shape is hollow."""
        part_map = self._small_map()
        centres = []
        for part in range(1, len(self.part_names) + 1):
            points = np.argwhere(part_map == part)
            nearest = ((points - points.mean(0)) ** 2).sum(1).argmin()
            centres.append((points[nearest][::-1] + 0.5) / self.size)
        return np.array(centres)

    def finish(self):
        """The image at its size under the scene's light, uint8 `[S, S, 3]`."""
        small = np.asarray(self.image.reduce(self.pixels // self.size), dtype=np.float32)
        slope = self.rng.uniform(-0.10, 0.10, 2)
        grid = np.linspace(-1, 1, self.size)
        light = self.rng.uniform(0.86, 1.1) + slope[0] * grid[None, :] + slope[1] * grid[:, None]
        tint = self.rng.uniform(0.96, 1.04, 3)
        return np.clip(small * light[..., None] * tint, 0, 255).astype(np.uint8)


def shade(colour, factor):
    """The colour made darker (factor < 1) or lighter (factor > 1)."""
    return tuple(int(min(255, c * factor)) for c in colour)


# Powers of t times this matrix weigh the four control points of a Catmull-Rom segment.
CATMULL_ROM = 0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]])


def smooth(points, steps=7):
    """Closed Catmull-Rom curve through `points` `[K, 2]`, `[K * steps, 2]`."""
    points = np.asarray(points, dtype=float)
    neighbours = (np.arange(len(points))[:, None] + np.arange(-1, 3)) % len(points)  # (K, 4)
    powers = (np.arange(steps)[:, None] / steps) ** np.arange(4)
    return (powers @ CATMULL_ROM @ points[neighbours]).reshape(-1, 2)


CIRCLE = np.linspace(0, 2 * np.pi, 28, endpoint=False)


def ellipse(x, y, radius_x, radius_y=None, angle=0.0):
    """Outline of an ellipse turned by `angle` degrees, `[28, 2]`."""
    radius_y = radius_x if radius_y is None else radius_y
    a = np.deg2rad(angle)
    u, v = radius_x * np.cos(CIRCLE), radius_y * np.sin(CIRCLE)
    return np.stack([x + u * np.cos(a) - v * np.sin(a), y + u * np.sin(a) + v * np.cos(a)], 1)


def feather(base, tip, width, fullness):
    """A feather (or leaf) from `base` to `tip`, widest at the share `fullness` of its length."""
    base, tip = np.asarray(base, float), np.asarray(tip, float)
    along = tip - base
    across = np.array([-along[1], along[0]]) / np.linalg.norm(along) * width / 2
    middle = base + fullness * along
    return smooth([base, middle - across, tip, middle + across])


def polar(x, y, radius, angle):
    """The point at `radius` and `angle` degrees (0 = right, 90 = up) from (x, y)."""
    a = np.deg2rad(angle)
    return np.array([x + radius * np.cos(a), y - radius * np.sin(a)])
