"""ND2 files of Nikon, written by hand: chunks of bytes, described in XML, and a map of them."""

import struct

import numpy as np

_MAGIC = 0x0ABECEDA
_SIGNATURE = b"ND2 FILE SIGNATURE CHUNK NAME01!"
_MAP, _END = b"ND2 FILEMAP SIGNATURE NAME 0001!", b"ND2 CHUNK MAP SIGNATURE 0000001!"
_TIME, _POSITIONS, _SLICES = 1, 2, 4
# Planes begin on pages of the disk: name and padding, then the time in 8 bytes.
_PAGE = 4096
_KINDS = {bool: "bool", int: "lx_uint32", float: "double", str: "CLxStringW"}


def write_nd2(path, values, size=0.2, step=0.5):
    """Write planes (positions, T, C, Z, Y, X); pixels and slices are so many micrometres apart."""
    positions, times, channels, slices, height, width = values.shape
    frames = np.moveaxis(values, 2, -1).reshape(-1, height, width, channels)
    bits = 8 * values.itemsize
    points = {f"p{i}": {"dPosX": 9.0 * i} for i in range(positions)}
    loops = [
        (_TIME, times, {"uiCount": times, "dStart": 0.0, "dPeriod": 1.0, "dDuration": 1.0}),
        (_POSITIONS, positions, {"Points": points}),
        (_SLICES, slices, {"uiCount": slices, "dZLow": 0.0, "dZHigh": 1.0, "dZStep": step}),
    ]
    # Frames follow each other in the order of the loops, from the outermost to the innermost.
    frames = frames.reshape(positions, times, slices, height, width, channels).swapaxes(0, 1)
    probe = {"m_uiColor": 0}
    planes = {
        f"a{c}": {"sDescription": f"dye {c}", "uiCompCount": 1, "pFluorescentProbe": probe}
        for c in range(channels)
    }
    chunks = {
        b"ImageAttributes!": {
            "uiWidth": width,
            "uiHeight": height,
            "uiWidthBytes": width * channels * values.itemsize,
            "uiComp": channels,
            "uiBpcInMemory": bits,
            "uiBpcSignificant": bits,
            "uiSequenceCount": positions * times * slices,
            "eCompression": 2,
        },
        b"ImageMetadataSeq|0!": {
            "bCalibrated": True,
            "dCalibration": size,
            "sPicturePlanes": {"uiCount": channels, "sPlaneNew": planes},
        },
        b"ImageMetadata!": _nested([loop for loop in loops if loop[1] > 1]),
    }
    described = {name: _xml("variant", {"no_name": told}) for name, told in chunks.items()}
    pixels = frames.reshape(-1, height, width, channels)
    data = {b"ImageDataSeq|%d!" % i: bytes(8) + f.tobytes() for i, f in enumerate(pixels)}
    times_of = {b"CustomData|AcqTimesCache!": np.arange(float(len(pixels))).tobytes()}
    path.write_bytes(_joined(described | data | times_of))


def _nested(loops):
    if not loops:
        return {}
    (kind, _, told), *inner = loops
    found = {"eType": kind, "uLoopPars": told}
    return found | ({"ppNextLevelEx": {"inner": _nested(inner)}} if inner else {})


def _xml(name, value):
    if isinstance(value, dict):
        inner = b"".join(_xml(key, one) for key, one in value.items())
        return f'<{name} runtype="CLxListVariant">'.encode() + inner + f"</{name}>".encode()
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f'<{name} runtype="{_KINDS[type(value)]}" value="{text}"/>'.encode()


def _joined(chunks):
    content = struct.pack("<IIQ32s64s", _MAGIC, 32, 64, _SIGNATURE, b"Ver2.1")
    places = b""
    for name, data in chunks.items():
        room = _PAGE - 24 if name.startswith(b"ImageDataSeq") else len(name)
        places += name + struct.pack("<QQ", len(content), len(data))
        content += struct.pack("<IIQ", _MAGIC, room, len(data)) + name.ljust(room, b"\0") + data
    start = len(content)
    places += _END + struct.pack("<Q", start)
    return content + struct.pack("<IIQ", _MAGIC, 32, len(places)) + _MAP + places
