"""What other sensors say about a clip: positions and gravity, on the clip's own clock. One file a format.

track.py  GpsTrack, GravityTrack: what every format is read into
gpmf.py   GoPro's record format; gopro.py what its records mean
exif.py   positions of stills
gpx.py    tracks of other receivers, and table.py the same as csv
read.py   which of these belongs to a clip: read_telemetry

Every file is untrusted: sizes and counts are bounded, and what is malformed is an InputError or an absent track.
"""

from wmkit.telemetry.read import AUTO, Sidecars, Telemetry, named_sidecars, read_telemetry
from wmkit.telemetry.track import GpsTrack, GravityTrack

__all__ = ["AUTO", "GpsTrack", "GravityTrack", "Sidecars", "Telemetry", "named_sidecars", "read_telemetry"]
