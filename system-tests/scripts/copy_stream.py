"""Copies every stream of a transport stream into another one with FFmpeg's libraries (PyAV), as
`ffmpeg -map 0 -c copy` does: the arguments are the file and its copy."""

import sys

import av

source, copy = sys.argv[1:]
with av.open(source) as before, av.open(copy, "w", format="mpegts") as after:
    streams = [after.add_stream_from_template(stream) for stream in before.streams]
    for packet in before.demux():
        if packet.size == 0:
            continue
        packet.stream = streams[packet.stream.index]
        after.mux(packet)
