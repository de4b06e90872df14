"""Colours as eyes see them: contrast, and how far two stand apart, also for who sees no red or no green."""

import numpy as np

# Machado, Oliveira and Fernandes 2009, doi 10.1109/TVCG.2009.113, at severity 1; of linear RGB. Grey stays grey.
EYES = {
    "all three cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # IEC 61966-2-1


def linear(colour: str) -> np.ndarray:
    """Red, green and blue as light, of "#rrggbb"."""
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """From 1 to 21, as WCAG 2.2 has it."""
    dark, light = sorted(float(linear(colour) @ _XYZ[1]) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def apart(one: str, other: str, eyes: str) -> float:
    """Distance in CIE L*a*b* (1976), where about 2 can just be seen, as these eyes see the two."""
    return float(np.linalg.norm(_lab(EYES[eyes] @ linear(one)) - _lab(EYES[eyes] @ linear(other))))


def _lab(light: np.ndarray) -> np.ndarray:
    relative = _XYZ @ np.clip(light, 0, 1) / _XYZ.sum(1)
    x, y, z = np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
