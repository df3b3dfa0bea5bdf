"""The commands of `outcry`: each reads its options and calls the room that does the work.

JSON lines go to standard output, words for people to standard error. Rooms are imported where they are used:
`outcry version` must not wait for numpy on a Pi Zero.
"""

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from device import __version__
from device.command_line import ending, packages
from device.command_line.options import Given, Group, debug_option, show, takes
from device.errors import BadDataError, MissingInputError, OutcryError, UsageError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
_PATH = click.Path(path_type=Path)


@click.group(cls=Group, context_settings=CONTEXT, no_args_is_help=False)
@click.version_option(__version__, prog_name="outcry", message="%(prog)s %(version)s")
def outcry() -> None:
    """Hear danger in the wearer's voice, light an LED, tell guardians over MQTT. No sound leaves the device."""


outcry.params.append(debug_option())


@outcry.command()
@takes("config")
def run(given: Given) -> None:
    """Listen to the microphone until SIGTERM or Ctrl-C; events go to standard output as JSON lines."""
    from device import service

    code = service.run(given.config)
    # The sound library may still hold a thread that never returns; nothing is left to be done here.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@outcry.command()
@click.argument("file", type=_PATH)
@click.option("--posteriors", is_flag=True, help="Also one line a second with danger and emotions.")
@click.option("--decisions", is_flag=True, help="Also one line each time the decision changes.")
@click.option(
    "--calls",
    "calls_path",
    metavar="CALLS.json",
    type=_PATH,
    help="What `enrol --output` learned of the wearer's own call; without it none is known.",
)
@takes("wearer", "model", "config")
def replay(given: Given, file: Path, posteriors: bool, decisions: bool, calls_path: Path | None) -> None:
    """Take the road of `run` from a sound file, faster than real time; times are seconds into the file."""
    from device import replay as room
    from device.audio import Recording
    from device.voice import callbook

    recording = Recording(file, given.config.microphone.chunk_ms)
    network = given.network()
    calls = callbook.load(calls_path) if calls_path else None
    if calls is not None and not calls.fitting(network.package.manifest):
        raise BadDataError(f"{calls_path}: was enrolled with another model package; run `outcry enrol` again")
    for message in room.replay(
        recording, network, given.config, posteriors=posteriors, decisions=decisions, calls=calls
    ):
        show(message)


@outcry.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@takes("wearer", "model", "config")
def classify(given: Given, files: tuple[str, ...]) -> None:
    """Judge each sound file as a whole; one JSON line a file, in the order given."""
    from device import replay as room

    network = given.network()
    code = 0
    for name in files:
        try:
            show(room.classify(name, network, given.config))
        except OutcryError as error:
            ending.complain(error)
            # Bad data outweighs a missing file: 66 says that files were only missing.
            code = error.code if code in (0, MissingInputError.code) else code
    if code:
        sys.exit(code)


@outcry.command()
@takes("model", "config")
def listen(given: Given) -> None:
    """Show a live meter of loudness, danger and emotions in the terminal, until Ctrl-C."""
    from device import meter

    meter.listen(given.config, given.network)


@outcry.command()
@takes("json")
def mics(given: Given) -> None:
    """List the microphones, with the names that `microphone.name` of the configuration takes."""
    from device.sound.microphone import list_microphones

    found = list_microphones()
    if not found:
        raise MissingInputError("no microphone found; plug one in, then run `outcry mics` again")
    for microphone in found:
        if given.as_json:
            show(microphone.as_dict())
        else:
            click.echo(str(microphone))


@outcry.command("check-config")
@click.argument("file", required=False, type=_PATH)
@takes("config", "json")
def check_config(given: Given, file: Path | None) -> None:
    """Check the configuration (FILE, else the one in force) and print it with every default filled in."""
    if file and given.config_path:
        raise UsageError("name the configuration once: either FILE or --config FILE")
    config = (Given(config=file) if file else given).config
    import msgspec

    from device.config import mqtt_password
    from device.mqtt.reasons import check_files

    mqtt_password(config)
    check_files(config.mqtt)
    if given.as_json:
        show(config)
        return
    for section, keys in msgspec.to_builtins(config).items():
        click.echo(f"[{section}]")
        for key, value in keys.items():
            click.echo(f"  {key} = {msgspec.json.encode(value).decode()}")
    click.echo("the configuration is good", err=True)


outcry.add_command(packages.model)


@outcry.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--output", metavar="WEARER.json", type=_PATH, help="Write it there instead.")
@click.option("--seconds", default=60.0, show_default=True, type=click.FloatRange(5, 600), help="Time to listen for.")
@takes("model", "config")
def calibrate(given: Given, files: tuple[str, ...], output: Path | None, seconds: float) -> None:
    """Learn the wearer's ordinary voice, from the microphone or from the FILEs given."""
    from device import calibration

    view = calibration.view_in_force(given.config, given.model_directory)
    if files:
        learned = calibration.from_files(files, view)
        path = calibration.keep(learned, given.config, output)
    else:
        click.echo(f"speak for {seconds:g} s as you ordinarily do, near the microphone", err=True)
        learned, path = calibration.from_microphone(given.config, view, seconds, output)
    click.echo(calibration.words(learned, path), err=True)


@outcry.command()
@click.argument("name")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--output", metavar="CALLS.json", type=_PATH, help="Write it there instead.")
@takes("model", "config")
def enrol(given: Given, name: str, files: tuple[str, ...], output: Path | None) -> None:
    """Learn the wearer's own call NAME: five examples of a sound, from the microphone or from the FILEs given.

    The call is any sound of 0.1 to 2.5 s that the wearer can make: a hum, a groan, a word, a clap. When `run`
    hears it, with quiet before and after, it raises an alert at once. FILEs: five with one example each, or
    fewer that hold several. Numbers are kept, no sound; the same NAME again replaces them, `forget` erases them.
    """
    from device import enrol as room

    if files:
        learned = room.from_files(name, files, given.network())
        path = room.keep(learned, given.config, output)[1]
        click.echo("a running service heeds it after a restart", err=True)
    else:
        click.echo("make the sound five times, with a second of quiet after each", err=True)
        path = room.from_microphone(
            name, given.config, given.network, output, lambda heard: click.echo(f"heard {heard} of 5", err=True)
        )
    click.echo(room.words(name, path), err=True)


@outcry.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@takes("config")
def forget(given: Given, yes: bool) -> None:
    """Erase what was kept: journal, outbox, the wearer's voice and calls. Alerts that were not delivered yet stay."""
    from device import forgetting

    if not yes:
        click.confirm(f"Erase what {given.config.device.state_directory} holds of you?", abort=True, err=True)
    click.echo(forgetting.forget(given.config), err=True)


@outcry.command()
@takes("json", "config")
def doctor(given: Given) -> None:
    """Check everything that outcry needs; each line says ok, warn or fail, and the next step."""
    from device import doctor as room

    sys.exit(room.examine(given.config_path, given.as_json))


@outcry.command()
@click.option(
    "--seconds", default=30.0, show_default=True, type=click.FloatRange(1, 600), help="Seconds of sound to measure."
)
@click.option("--file", type=_PATH, help="Measure on this sound file instead of a made one.")
@click.option("--check", is_flag=True, help="Fail (70) where a budget of the design is exceeded.")
@takes("json", "model", "config")
def bench(given: Given, seconds: float, file: Path | None, check: bool) -> None:
    """Measure CPU milliseconds per second of sound by stage, peak memory and start-up time."""
    from device import bench as room

    figures = room.measure(given.config, given.model_directory, seconds, file)
    if given.as_json:
        show(figures)
    else:
        click.echo(room.table(figures))
    if check:
        room.check(figures)


@outcry.command()
@click.argument("file", type=_PATH)
@click.option("--output", "-o", metavar="PNG", type=_PATH, help="Default: the file's name with .png.")
@takes("wearer", "model", "config")
def explain(given: Given, file: Path, output: Path | None) -> None:
    """Draw what the device made of a sound file: spectrogram, emotions, danger, decisions."""
    from device import explain as room
    from device.audio import Recording

    recording = Recording(file, given.config.microphone.chunk_ms)
    picture = output or Path(file.name).with_suffix(".png")
    room.draw(recording, given.network(), given.config, picture)
    click.echo(f"drew {picture}", err=True)


@outcry.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


def start_log() -> None:
    """Log to standard error; systemd's journal has its own clock."""
    under_systemd = "JOURNAL_STREAM" in os.environ
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO if under_systemd else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
    )


def main() -> NoReturn:
    """Run the command line: every error becomes one line and the exit code of its kind."""
    start_log()
    ending.run(outcry, "outcry", "outcry")
