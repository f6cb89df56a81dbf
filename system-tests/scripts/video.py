"""What programs of others read in a transport stream: timed ID3 by FFmpeg's libraries (PyAV), and
SCTE-35 by threefive. Prints one JSON object for the file that is the argument."""

import json
import sys

import av
import threefive

path = sys.argv[1]


def text_frames(tag):
    """The values of the frames TXXX in a tag of ID3v2.4."""
    size = lambda four: (four[0] << 21) | (four[1] << 14) | (four[2] << 7) | four[3]
    assert tag[:4] == b"ID3\x04", tag[:10]
    assert len(tag) == 10 + size(tag[6:10]), "the tag is whole"
    at, values = 10, []
    while at < len(tag):
        length = size(tag[at + 4 : at + 8])
        assert tag[at : at + 4] == b"TXXX"
        description, value = tag[at + 11 : at + 10 + length].split(b"\0", 1)
        assert description == b"selvedge"
        values.append(json.loads(value))
        at += 10 + length
    return values


tags = []
pictures = 0
with av.open(path) as container:
    kinds = [stream.type for stream in container.streams]
    for packet in container.demux():
        if packet.size == 0:
            continue
        if packet.stream.type == "data" and bytes(packet)[:3] == b"ID3":
            tags.append({"pts": packet.pts, "values": text_frames(bytes(packet))})
        elif packet.stream.type == "video":
            pictures += len(packet.decode())

cues = []


def take(cue):
    signal = cue.command
    if signal.name == "Splice Null":
        return
    (descriptor,) = cue.descriptors
    upid = descriptor.segmentation_upid
    cues.append(
        {
            "pts_ticks": getattr(signal, "pts_time_ticks", None),
            "pts": signal.pts_time,
            "type": descriptor.segmentation_type_id,
            "event": descriptor.segmentation_event_id,
            "upid": upid,
        }
    )


threefive.Stream(path, show_null=False).decode(func=take)
print(json.dumps({"kinds": kinds, "pictures": pictures, "tags": tags, "cues": cues}, default=str))
