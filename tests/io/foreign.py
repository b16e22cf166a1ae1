"""TIFF files as other programs write them, and an independent eye on the results."""

import struct

import numpy as np
import tifffile
from PIL import Image

from napari_rednet.io import image_writer, read_image

TYPES = {2: (1, "s"), 3: (2, "H"), 4: (4, "I"), 5: (8, "II")}
OFFSETS = (273, 324, 513)


def raw_tiff(path, tags, segments=()):
    """Write a TIFF of one page by hand: tags as {code: (type, values)}, offsets of the segments.

    A third value of a tag is its count, where that is not how many numbers there are.
    """
    counts = {code: rest[0] for code, (_, _, *rest) in tags.items() if rest}
    entries = {
        code: [kind, values if isinstance(values, bytes) else packed(kind, values)]
        for code, (kind, values, *_) in tags.items()
    }
    long = sum(len(value) for _, value in entries.values() if len(value) > 4)
    place = 8 + 2 + 12 * len(entries) + 4
    starts = np.cumsum([place + long, *map(len, segments)])[:-1]
    for code in set(OFFSETS) & entries.keys():
        if segments:
            entries[code][1] = packed(4, [int(start) for start in starts])
    head, body = b"", b""
    for code, (kind, value) in sorted(entries.items()):
        count = counts.get(code, len(value) // TYPES[kind][0])
        head += struct.pack("<HHI", code, kind, count)
        head += struct.pack("<I", place + len(body)) if len(value) > 4 else value.ljust(4, b"\0")
        body += value if len(value) > 4 else b""
    first = b"II*\0" + struct.pack("<IH", 8, len(entries))
    path.write_bytes(first + head + bytes(4) + body + b"".join(segments))
    return path


def packed(kind, values):
    return values if kind == 2 else struct.pack(f"<{len(values)}{TYPES[kind][1][0]}", *values)


def gray_tags(height, width, **changes):
    """Tags of a plain page of 8 bits in one strip, some of them changed: t256=(4, [9])."""
    tags = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8]),
        259: (3, [1]),
        262: (3, [1]),
        273: (4, [0]),
        277: (3, [1]),
        278: (4, [height]),
        279: (4, [height * width]),
    }
    return tags | {int(name[1:]): value for name, value in changes.items()}


def copied(source, target, **options):
    """Read an image, and write it again as the commands do."""
    image = read_image(source, **options)
    with image_writer(target, image) as out:
        out[...] = image.data[...]
    return image


def seen(path, mode="RGB"):
    """A file as Pillow shows it."""
    with Image.open(path) as file:
        return np.asarray(file.convert(mode)).astype(int)


def ome_xml(sizes, parts, order="XYCZT", uuid="urn:uuid:0", kind="uint8"):
    """OME description of an image whose planes lie in parts.

    A part is (name of its file or None for this one, place of its first plane, number of planes).
    """
    sizes = {"C": 1, "Z": 1, "T": 1, **sizes}
    size = " ".join(f'Size{axis}="{n}"' for axis, n in sizes.items())
    channels = "".join(
        f'<Channel ID="Channel:0:{i}" Name="dye {i}" SamplesPerPixel="1"/>'
        for i in range(sizes["C"])
    )
    data = ""
    for number, (name, first, count) in enumerate(parts):
        place = " ".join(f'First{axis}="{n}"' for axis, n in first.items())
        text = f'<UUID FileName="{name}">urn:uuid:{number}</UUID>' if name else ""
        data += f'<TiffData IFD="0" {place} PlaneCount="{count}">{text}</TiffData>'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuid}">'
        f'<Image ID="Image:0" Name="cells"><Pixels ID="Pixels:0" DimensionOrder="{order}" '
        f'Type="{kind}" PhysicalSizeX="0.2" PhysicalSizeY="0.2" {size}>{channels}{data}'
        "</Pixels></Image></OME>"
    )


def write_pages(path, pages, description=None, **options):
    """Write planes one by one, each with its own place, under a description of one's own."""
    with tifffile.TiffWriter(path, **({"ome": False} if description else {})) as file:
        for number, page in enumerate(pages):
            told = description if number == 0 else None
            file.write(page, description=told, metadata=None, contiguous=False, **options)
