"""The commands of `outcry`: each reads its options and calls the room that does the work.

JSON lines go to standard output, words for people to standard error. Rooms are imported where they are used:
`outcry version` must not wait for numpy on a Pi Zero.
"""

import logging
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from device import __version__
from device.errors import BadDataError, MissingInputError, OutcryError, UsageError

if TYPE_CHECKING:
    from device.config import Config
    from device.network import Network

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Command(click.Command):
    """A command that also takes --debug, wherever a person happens to put it."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params.append(debug_option())


class Group(click.Group):
    """A group whose commands are `Command`s."""

    command_class = Command


def debug_option() -> click.Option:
    """Tracebacks and the whole log."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        root = context.find_root()
        if value:
            root.meta["device.debug"] = True
            logging.getLogger().setLevel(logging.DEBUG)

    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Show the whole log, and a traceback with an error.",
    )


def config_option(function: Any) -> Any:
    """--config FILE, for each command that reads the configuration."""
    return click.option(
        "--config",
        "config_path",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="The configuration (default: $OUTCRY_CONFIG, /etc/outcry/config.toml, else the defaults).",
    )(function)


def model_option(function: Any) -> Any:
    """--model DIR, for each command that runs a network."""
    return click.option(
        "--model",
        "model_directory",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="Another model package for this call.",
    )(function)


def wearer_option(function: Any) -> Any:
    """--wearer FILE, for each command that judges files."""
    return click.option(
        "--wearer",
        "wearer_path",
        metavar="WEARER.json",
        type=click.Path(path_type=Path),
        help="What `calibrate --output` learned of the wearer; without it nothing is known.",
    )(function)


def json_option(function: Any) -> Any:
    """--json, where words for people are the default."""
    return click.option("--json", "as_json", is_flag=True, help="JSON lines instead of words.")(function)


def load_config(path: Path | None) -> "Config":
    """Read the configuration named, or the one in force."""
    from device import config

    loaded = config.load(path)
    if os.geteuid() == 0:
        # What sudo writes into the service's directory has to stay the service's own.
        from device.machine import files

        state = Path(loaded.device.state_directory)
        click.get_current_context().call_on_close(lambda: files.leave_to_owner(state))
    return loaded


def load_network(config: "Config", model_directory: Path | None, wearer_path: Path | None = None) -> "Network":
    """Load the package that this call names, else the one in force, and its network."""
    from device import wearer
    from device.installed import chosen, golden

    package = chosen.in_force(config, model_directory)
    known = wearer.load(wearer_path) if wearer_path else None
    if known is not None and not known.fits(package.manifest.view):
        raise BadDataError(
            f"{wearer_path}: was learned for another model package; run `outcry calibrate --output` again"
        )
    return golden.open_network(package, wearer=known)


def show(message: Any) -> None:
    """Print one JSON line."""
    import msgspec

    from device import events

    event = isinstance(message, events.Event)
    click.echo((events.encode(message) if event else msgspec.json.encode(message)).decode())


@click.group(cls=Group, context_settings=CONTEXT, no_args_is_help=False)
@click.version_option(__version__, prog_name="outcry", message="%(prog)s %(version)s")
def outcry() -> None:
    """Hear danger in the wearer's voice, light an LED, tell guardians over MQTT. No sound leaves the device."""


outcry.params.append(debug_option())


@outcry.command()
@config_option
def run(config_path: Path | None) -> None:
    """Listen to the microphone until SIGTERM or Ctrl-C; events go to standard output as JSON lines."""
    from device import service

    code = service.run(load_config(config_path))
    # The sound library may still hold a thread that never returns; nothing is left to be done here.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@outcry.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--posteriors", is_flag=True, help="Also one line a second with danger and emotions.")
@click.option("--decisions", is_flag=True, help="Also one line each time the decision changes.")
@click.option(
    "--calls",
    "calls_path",
    metavar="CALLS.json",
    type=click.Path(path_type=Path),
    help="What `enrol --output` learned of the wearer's own call; without it none is known.",
)
@wearer_option
@model_option
@config_option
def replay(
    *,
    file: Path,
    posteriors: bool,
    decisions: bool,
    calls_path: Path | None,
    wearer_path: Path | None,
    model_directory: Path | None,
    config_path: Path | None,
) -> None:
    """Take the road of `run` from a sound file, faster than real time; times are seconds into the file."""
    from device import replay as room
    from device.audio import Recording
    from device.voice import callbook

    config = load_config(config_path)
    recording = Recording(file, config.microphone.chunk_ms)
    network = load_network(config, model_directory, wearer_path)
    calls = callbook.load(calls_path) if calls_path else None
    if calls is not None and not calls.fitting(network.package.manifest):
        raise BadDataError(f"{calls_path}: was enrolled with another model package; run `outcry enrol` again")
    for message in room.replay(recording, network, config, posteriors=posteriors, decisions=decisions, calls=calls):
        show(message)


@outcry.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@wearer_option
@model_option
@config_option
def classify(
    files: tuple[str, ...], wearer_path: Path | None, model_directory: Path | None, config_path: Path | None
) -> None:
    """Judge each sound file as a whole; one JSON line a file, in the order given."""
    from device import replay as room

    config = load_config(config_path)
    network = load_network(config, model_directory, wearer_path)
    code = 0
    for name in files:
        try:
            show(room.classify(name, network, config))
        except OutcryError as error:
            complain(error)
            # Bad data outweighs a missing file: 66 says that files were only missing.
            code = error.code if code in (0, MissingInputError.code) else code
    if code:
        sys.exit(code)


@outcry.command()
@model_option
@config_option
def listen(model_directory: Path | None, config_path: Path | None) -> None:
    """Show a live meter of loudness, danger and emotions in the terminal, until Ctrl-C."""
    from device import meter

    config = load_config(config_path)
    meter.listen(config, lambda: load_network(config, model_directory))


@outcry.command()
@json_option
def mics(as_json: bool) -> None:
    """List the microphones, with the names that `microphone.name` of the configuration takes."""
    from device.sound.microphone import list_microphones

    found = list_microphones()
    if not found:
        raise MissingInputError("no microphone found; plug one in, then run `outcry mics` again")
    for microphone in found:
        if as_json:
            show(microphone.as_dict())
        else:
            click.echo(str(microphone))


@outcry.command("check-config")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@config_option
@json_option
def check_config(file: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Check the configuration (FILE, else the one in force) and print it with every default filled in."""
    if file and config_path:
        raise UsageError("name the configuration once: either FILE or --config FILE")
    config = load_config(file or config_path)
    from device.config import mqtt_password

    mqtt_password(config)
    if as_json:
        show(config)
        return
    import msgspec

    for section, keys in msgspec.to_builtins(config).items():
        click.echo(f"[{section}]")
        for key, value in keys.items():
            click.echo(f"  {key} = {msgspec.json.encode(value).decode()}")
    click.echo("the configuration is good", err=True)


@outcry.group()
def model() -> None:
    """Install, list, verify and roll back model packages."""


@model.command()
@click.argument("directory", type=click.Path(path_type=Path))
@config_option
def install(directory: Path, config_path: Path | None) -> None:
    """Check and prove the package in DIRECTORY, then put it in force, on trial until the service was ready with it."""
    from device.installed import golden, store

    config = load_config(config_path)
    home = store.Store(Path(config.device.state_directory))
    installed = home.install(directory, golden.check, config.model.public_key or None)
    click.echo(f"{installed.manifest.identity} is installed; a running service uses it after a restart", err=True)


@model.command("list")
@json_option
@config_option
def list_models(as_json: bool, config_path: Path | None) -> None:
    """List the installed packages, and what ships with this release."""
    from device.installed import chosen, store

    config = load_config(config_path)
    rows = store.Store(Path(config.device.state_directory)).listed(config.model.public_key or None)
    for row in rows:
        if as_json:
            show(row)
            continue
        notes = [word for word in ("current", "previous", "on_trial") if getattr(row, word)]
        notes += [row.fault] if row.fault else []
        click.echo(f"{row.identity}  {', '.join(notes).replace('_', ' ')}".rstrip())
    for folder in chosen.shipped():
        if as_json:
            show({"identity": folder.name, "shipped": True})
        else:
            click.echo(f"{folder.name}  shipped with outcry {__version__}")


@model.command()
@config_option
def rollback(config_path: Path | None) -> None:
    """Put the package before in force again."""
    from device.installed import store

    config = load_config(config_path)
    name = store.Store(Path(config.device.state_directory)).rollback(config.model.public_key or None)
    click.echo(f"{name} is in force again; a running service uses it after a restart", err=True)


@model.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@config_option
@json_option
def verify(directory: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Check the package in DIRECTORY (else the one in force): files, signature where a key is set, golden clip."""
    from device import package
    from device.installed import chosen, golden

    config = load_config(config_path)
    key = config.model.public_key or None
    found = package.load(directory, key) if directory else chosen.in_force(config)
    result = golden.check(found)
    if as_json:
        show({"model": found.manifest.identity, "signed": found.signed, "golden": result})
        return
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
    signed = "signature good" if found.signed else "not signed"
    limit = f"{result.difference:.4f} of {result.tolerance:.4f}"
    click.echo(f"{found.manifest.identity}: whole, {signed}, golden clip off by {limit} ({result.kernels})")


@outcry.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--output", metavar="WEARER.json", type=click.Path(path_type=Path), help="Write it there instead.")
@click.option("--seconds", default=60.0, show_default=True, type=click.FloatRange(5, 600), help="Time to listen for.")
@model_option
@config_option
def calibrate(
    files: tuple[str, ...], output: Path | None, seconds: float, model_directory: Path | None, config_path: Path | None
) -> None:
    """Learn the wearer's ordinary voice, from the microphone or from the FILEs given."""
    from device import calibration

    config = load_config(config_path)
    view = calibration.view_in_force(config, model_directory)
    if files:
        learned = calibration.from_files(files, view)
        path = calibration.keep(learned, config, output)
    else:
        click.echo(f"speak for {seconds:g} s as you ordinarily do, near the microphone", err=True)
        learned, path = calibration.from_microphone(config, view, seconds, output)
    click.echo(calibration.words(learned, path), err=True)


@outcry.command()
@click.argument("name")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--output", metavar="CALLS.json", type=click.Path(path_type=Path), help="Write it there instead.")
@model_option
@config_option
def enrol(
    name: str, files: tuple[str, ...], output: Path | None, model_directory: Path | None, config_path: Path | None
) -> None:
    """Learn the wearer's own call NAME: five examples of a sound, from the microphone or from the FILEs given.

    The call is any sound of 0.1 to 2.5 s that the wearer can make: a hum, a groan, a word, a clap. When `run`
    hears it, with quiet before and after, it raises an alert at once. FILEs: five with one example each, or
    fewer that hold several. Numbers are kept, no sound; the same NAME again replaces them, `forget` erases them.
    """
    from device import enrol as room

    config = load_config(config_path)
    if files:
        call = room.from_files(name, files, load_network(config, model_directory))
        path = room.keep(call, config, output)[1]
        click.echo("a running service heeds it after a restart", err=True)
    else:
        click.echo("make the sound five times, with a second of quiet after each", err=True)
        path = room.from_microphone(
            name,
            config,
            lambda: load_network(config, model_directory),
            output,
            lambda heard: click.echo(f"heard {heard} of 5", err=True),
        )
    click.echo(room.words(name, path), err=True)


@outcry.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def forget(yes: bool, config_path: Path | None) -> None:
    """Erase what was kept: journal, outbox, the wearer's voice and calls. Alerts that were not delivered yet stay."""
    from device import forgetting

    config = load_config(config_path)
    if not yes:
        click.confirm(f"Erase what {config.device.state_directory} holds of you?", abort=True, err=True)
    click.echo(forgetting.forget(config), err=True)


@outcry.command()
@json_option
@config_option
def doctor(as_json: bool, config_path: Path | None) -> None:
    """Check everything that outcry needs; each line says ok, warn or fail, and the next step."""
    from device import doctor as room

    sys.exit(room.examine(config_path, as_json))


@outcry.command()
@click.option(
    "--seconds",
    default=30.0,
    show_default=True,
    type=click.FloatRange(1, 600),
    help="Seconds of sound to measure.",
)
@click.option("--file", type=click.Path(path_type=Path), help="Measure on this sound file instead of a made one.")
@click.option("--check", is_flag=True, help="Fail (70) where a budget of the design is exceeded.")
@json_option
@model_option
@config_option
def bench(
    *,
    seconds: float,
    file: Path | None,
    check: bool,
    as_json: bool,
    model_directory: Path | None,
    config_path: Path | None,
) -> None:
    """Measure CPU milliseconds per second of sound by stage, peak memory and start-up time."""
    from device import bench as room

    config = load_config(config_path)
    figures = room.measure(config, model_directory, seconds, file)
    if as_json:
        show(figures)
    else:
        click.echo(room.table(figures))
    if check:
        room.check(figures)


@outcry.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    metavar="PNG",
    type=click.Path(path_type=Path),
    help="Default: the file's name with .png.",
)
@wearer_option
@model_option
@config_option
def explain(
    file: Path,
    output: Path | None,
    wearer_path: Path | None,
    model_directory: Path | None,
    config_path: Path | None,
) -> None:
    """Draw what the device made of a sound file: spectrogram, emotions, danger, decisions."""
    from device import explain as room
    from device.audio import Recording

    config = load_config(config_path)
    recording = Recording(file, config.microphone.chunk_ms)
    picture = output or Path(file.name).with_suffix(".png")
    room.draw(recording, load_network(config, model_directory, wearer_path), config, picture)
    click.echo(f"drew {picture}", err=True)


@outcry.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


def complain(error: BaseException | str) -> None:
    """Print an error as one line on standard error."""
    line = " ".join(str(error).split())
    click.echo(f"outcry: {line}", err=True)


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
    meta: dict[str, Any] = {}
    try:
        with outcry.make_context("outcry", sys.argv[1:]) as context:
            meta = context.meta
            outcry.invoke(context)
        sys.stdout.flush()
        code = 0
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.ClickException as error:
        where = getattr(error, "ctx", None)
        path = where.command_path if where is not None else "outcry"
        complain(f"{error.format_message().rstrip('.')}; see {path} --help")
        code = UsageError.code
    except OutcryError as error:
        complain(error)
        show_traceback(meta)
        code = error.code
    except (KeyboardInterrupt, click.Abort):
        code = 130
    except BrokenPipeError:
        # Whoever read our output has enough; Python must not complain once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:  # noqa: BLE001  the last door: no traceback for a person
        complain(f"a fault of ours: {type(error).__name__}: {error}; run it with --debug and report what it shows")
        show_traceback(meta)
        code = OutcryError.code
    sys.exit(code)


def show_traceback(meta: dict[str, Any]) -> None:
    """Show where an error came from, where --debug asked for it."""
    if meta.get("device.debug"):
        traceback.print_exc()
