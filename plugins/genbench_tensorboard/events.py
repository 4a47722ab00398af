"""A run as one TensorBoard event file."""

import io
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from genbench.errors import GenbenchError
from genbench.records import Record
from genbench.store import write_atomic
from genbench.tracking import curve, numbers, pictures, run_title, settings
from genbench_tensorboard.texts import texts

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by a PNG's colour type


def write_run(record: Record, folder: Path, root: Path) -> None:
    """Write all of a run to one event file below `root`, and empty an earlier one.

    TensorBoard never sees half a file: it is written under a name that it does not look for, and then renamed. The new
    name sorts after the old one, so that a TensorBoard that runs goes on to it; it begins with the start of a session
    at step 0, which makes TensorBoard forget what it has read of the run before.

    Raises:
        GenbenchError: it can't be written.
    """
    home = root / run_title(record)
    data = _encoded(record, folder)
    try:
        earlier = list(home.glob("events.out.tfevents.*.genbench"))
        partial = home / "partial"
        write_atomic(partial, data)
        # Nanoseconds, so that no name comes twice and later ones sort last.
        partial.replace(home / f"events.out.tfevents.{time.time_ns():020d}.genbench")
        for path in earlier:
            _retire(path)
    except OSError as error:
        raise GenbenchError(f"cannot write {home}: {error.strerror or error}", "choose another folder") from error


def _retire(path: Path) -> None:
    """Empty a file; remove one that was emptied before: TensorBoard goes on to the next only from one that is there."""
    if path.stat().st_size:
        path.write_bytes(b"")
    else:
        path.unlink()


def _encoded(record: Record, folder: Path) -> bytes:
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in _events(record, folder):
        event.wall_time = _seconds(record.finished_utc)  # a curve does not tell when
        writer.write(event.SerializeToString())
    return buffer.getvalue()


def _events(record: Record, folder: Path) -> Iterator[Event]:
    last = record.images_seen
    yield Event(file_version="brain.Event:2")
    yield Event(step=0, session_log=SessionLog(status=SessionLog.START))
    yield Event(step=0, summary=_session_start(record))
    for images_seen, row in curve(folder):
        yield Event(step=images_seen, summary=_scalars({f"curve/{name}": value for name, value in row.items()}))
    yield Event(step=last, summary=_scalars(numbers(record)))
    for path in pictures(folder):
        if (picture := _picture(path.read_bytes())) is not None:
            yield Event(step=last, summary=Summary(value=[Summary.Value(tag=f"images/{path.stem}", image=picture)]))
    for topic, text in texts(record).items():
        yield Event(step=last, summary=text_pb(f"about/{topic}", text))
    yield Event(step=last, summary=_session_end(record))


def _scalars(values: dict[str, float]) -> Summary:
    return Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])


def _picture(png: bytes) -> Summary.Image | None:
    """Return a PNG as it is, by what its header says; None where it is no PNG."""
    if len(png) < 26 or not png.startswith(_SIGNATURE) or png[25] not in _CHANNELS:
        return None
    width, height = int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
    return Summary.Image(width=width, height=height, colorspace=_CHANNELS[png[25]], encoded_image_string=png)


def _session_start(record: Record) -> Summary:
    hyperparameters = {**settings(record), "status": record.status}
    return hparams_pb(hyperparameters, trial_id=run_title(record), start_time_secs=_seconds(record.started_utc))


def _session_end(record: Record) -> Summary:
    status = STATUS_SUCCESS if record.status == "ok" else STATUS_FAILURE
    info = SessionEndInfo(status=status, end_time_secs=_seconds(record.finished_utc))
    described = metadata.create_summary_metadata(HParamsPluginData(session_end_info=info))
    value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=described, tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])


def _seconds(utc: str) -> float:
    return datetime.fromisoformat(utc).timestamp()
