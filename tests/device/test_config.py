"""The configuration: every key documented, every wrong one named in one line."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device import config
from device.config import Config
from device.errors import ConfigError
from tests.another_user import said_of

EXAMPLE = (Path(config.__file__).parents[1] / "config.example.toml").read_text("utf-8")
SECTIONS = {field.name: field.type for field in msgspec.structs.fields(Config)}
KEYS = [(name, field.name) for name, kind in SECTIONS.items() for field in msgspec.structs.fields(kind)]


def test_the_example_has_every_key_with_its_default_and_none_besides() -> None:
    written = [(table, key) for table, keys in tomllib.loads(EXAMPLE).items() for key in keys]
    assert sorted(written) == sorted(KEYS)
    assert config.parse(EXAMPLE) == Config()


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_the_example_says_something_about_every_key(section: str, key: str) -> None:
    lines = EXAMPLE.split(f"[{section}]", 1)[1].splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"{key} ="))
    # Two keys of one thought (n and m, cert_file and key_file) share the comment above the first.
    above = [line for line in lines[max(0, at - 2) : at] if line.startswith("#")]
    assert above, f"{section}.{key} has no comment above it"


def test_no_file_is_needed(tmp_path: Path) -> None:
    made = config.load(None, {"HOME": str(tmp_path)})
    assert made.device.state_directory == str(tmp_path / ".local/state/outcry")
    assert made.mqtt.host == ""
    assert made.mqtt.port == 8883


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[panel]\nled = 99", "panel.led: 99 is not allowed; allowed: a GPIO number from 0 to 27"),
        ('[panel]\nled = "x"', "panel.led: 'x' is not allowed"),
        ("[panel]\nled = true", "panel.led: True is not allowed"),
        ("[panel]\nled = 1979-05-27", "panel.led: datetime.date"),
        ("[panel]\nbulb = 1", "panel.bulb: no such key; known in [panel]: led, button"),
        ('[panel]\n"a\\nb" = 1', r"panel.a\nb: no such key"),
        ("colour = 1", "colour: no such key; known here: device, microphone"),
        ("panel = 3", "panel: must be a table [panel] with keys of: led"),
        ("[[panel]]\nled = 3", "panel: must be a table [panel]"),
        ('[model]\nsensitivity = "high"', 'allowed: one of "balanced", "catch-more", "fewer-alarms"'),
        ("[alarm]\npre_alert_s = nan", "alarm.pre_alert_s: nan is not allowed; give a finite number"),
        ("[alarm]\npre_alert_s = inf", "alarm.pre_alert_s: inf is not allowed"),
        ("[alarm]\npre_alert_s = -0.1", "allowed: a number from 0 to 60"),
        ("[alarm]\nduress = 1", "alarm.duress: 1 is not allowed; allowed: true or false"),
        ("[alarm]\ndisarm_most_s = 43201", "alarm.disarm_most_s: 43201 is not allowed"),
        ("[alarm]\ndisarm_most_s = 60", "alarm.disarm_default_s: above alarm.disarm_most_s (60)"),
        ("[microphone]\nchunk_ms = 1.5", "microphone.chunk_ms: 1.5 is not allowed; allowed: a whole number"),
        ("[microphone]\nrate_hz = 5", "microphone.rate_hz: 5 is not allowed"),
        ("[microphone]\nsuspect_after_s = 4", "microphone.recover_after_s"),
        ('[mqtt]\nguardian_keys = ["x"]', "mqtt.guardian_keys[0]: 'x' is not allowed"),
        ("[mqtt]\nguardian_keys = 3", "mqtt.guardian_keys: 3 is not allowed; allowed: a list"),
        ('[mqtt]\nkey_file = "k"', "mqtt.cert_file: needed beside mqtt.key_file"),
        ('[mqtt]\ntls = false\nca_file = "c"', "mqtt.tls: must be true"),
        ('[mqtt]\nhome_assistant_prefix = "a/#"', "a topic without + and #"),
        ('[device]\nname = "Ann\'s"', 'device.name: "Ann\'s" is not allowed; allowed: 1 to 32 of a-z'),
        ('[device]\nname = "ann\\n"', "device.name: "),
        ('[test_alarm]\nweekly = "sun 24:00"', 'allowed: day and local time like "sun 12:00"'),
        ('[position]\ngpsd = "localhost:99999"', "position.gpsd: "),
        ('[position]\ngpsd = "localhost"', 'HOST:PORT like "localhost:2947"'),
        ("[panel]\nled = 22", "two of them share a GPIO"),
        ("[decision]\nthreshold = 0.4\nrelease = 0.5", "decision.release: 0.5 is above"),
        ("[decision]\nn = 3\nm = 2", "decision.n: 3 is above decision.m (2)"),
        ("a = ", "not TOML"),
        ("a = " + "[" * 5000, "not TOML"),
        ("a = 1" + "0" * 5000, "not TOML"),
        ("[panel]\nled = 100000000000000000000000", "panel.led"),
    ],
)
def test_a_wrong_key_is_named_in_one_line(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, "house.toml")
    said = str(caught.value)
    assert said.startswith("house.toml: ")
    assert line in said
    assert len(said.splitlines()) == 1
    assert caught.value.code == 78


@given(st.text())
def test_any_text_is_a_config_or_refused_in_one_line(text: str) -> None:
    _parse_or_one_line(text)


toml_values = (
    st.booleans().map(lambda value: str(value).lower())
    | st.integers().map(str)
    | st.floats().map(lambda value: repr(value).replace("e+", "e"))
    | st.text(st.characters(exclude_categories=["C"], exclude_characters="'")).map(lambda text: f"'{text}'")
    | st.sampled_from(["[]", "{}", "[1, 'a']", "1979-05-27", "07:32:00", "[[]]", "{a = 1}", "nan", "-inf"])
)


@given(st.sampled_from(KEYS), toml_values)
def test_any_value_of_any_key_is_taken_as_typed_or_refused_by_its_name(key: tuple[str, str], value: str) -> None:
    said = _parse_or_one_line(f"[{key[0]}]\n{key[1]} = {value}")
    if said is not None:
        assert f"{key[0]}." in said


def _parse_or_one_line(text: str) -> str | None:
    try:
        made = config.parse(text)
    except ConfigError as error:
        said = str(error)
    else:
        # What was let through is what the type says: it survives a strict round trip.
        assert msgspec.convert(msgspec.to_builtins(made), Config) == made
        return None
    assert len(said.splitlines()) == 1
    assert len(said) < 400
    return said


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    big = tmp_path / "big.toml"
    big.write_bytes(b"#" * (config.FILE_LIMIT_BYTES + 1))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\x7fELF\xff\xfe")
    for path, why in [
        (tmp_path / "missing.toml", "no such file"),
        (tmp_path, "is a directory"),
        (big, "larger than"),
        (binary, "not UTF-8"),
    ]:
        with pytest.raises(ConfigError, match=why) as caught:
            config.load(path)
        assert str(path) in str(caught.value)


def test_the_file_is_found_by_argument_then_environment(tmp_path: Path) -> None:
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    one.write_text('[device]\nname = "one"')
    other.write_text('[device]\nname = "other"')
    environ = {"OUTCRY_CONFIG": str(one), "HOME": str(tmp_path)}
    assert config.load(None, environ).device.name == "one"
    assert config.load(other, environ).device.name == "other"


def test_paths_count_from_the_file_and_systemd_names_the_directories(tmp_path: Path) -> None:
    file = tmp_path / "house.toml"
    file.write_text('[model]\ndirectory = "m"\n[mqtt]\nca_file = "~/ca.crt"\ntls = true\n')
    environ = {"HOME": "/home/ann", "STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "RUNTIME_DIRECTORY": "/run/a"}
    made = config.load(file, environ)
    assert made.model.directory == str(tmp_path / "m")
    assert made.mqtt.ca_file == "/home/ann/ca.crt"
    assert (made.device.state_directory, made.device.runtime_directory) == ("/var/lib/a", "/run/a")
    assert config.load(None, {"HOME": "/h", "XDG_RUNTIME_DIR": "/run/u"}).device.runtime_directory == "/run/u/outcry"


def test_the_port_follows_tls() -> None:
    assert config._resolved(config.parse("[mqtt]\ntls = false"), Path("/"), {}).mqtt.port == 1883
    assert config._resolved(config.parse("[mqtt]\nport = 1\n"), Path("/"), {}).mqtt.port == 1


def test_the_password_comes_from_file_credential_or_environment(tmp_path: Path) -> None:
    (tmp_path / "mqtt-password").write_text("of the credential\n")
    (tmp_path / "pw").write_text(" of the file \n")
    named = config.parse(f"[mqtt]\npassword_file = '{tmp_path / 'pw'}'")
    environ = {"OUTCRY_MQTT_PASSWORD": "of the environment"}
    with_credential = environ | {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert config.mqtt_password(named, with_credential) == " of the file "
    assert config.mqtt_password(Config(), with_credential) == "of the credential"
    assert config.mqtt_password(Config(), environ) == "of the environment"
    assert config.mqtt_password(Config(), {}) is None


def test_a_password_file_that_is_missing_empty_or_binary_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff")
    for name, why in [("missing", "no such file"), ("empty", "is empty"), ("binary", "not UTF-8")]:
        made = config.parse(f"[mqtt]\npassword_file = '{tmp_path / name}'")
        with pytest.raises(ConfigError, match=why):
            config.mqtt_password(made, {})


def test_the_client_key_may_come_as_a_credential(tmp_path: Path) -> None:
    (tmp_path / "mqtt-key").write_text("key")
    made = config.parse('[mqtt]\ncert_file = "/c.crt"')
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert config._resolved(made, Path("/"), environ).mqtt.key_file == str(tmp_path / "mqtt-key")


def test_keys_come_in_base64_or_hexadecimal() -> None:
    raw = bytes(range(32))
    for text in (raw.hex(), raw.hex().upper(), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="):
        made = config.parse(f'[mqtt]\nguardian_keys = ["{text}"]\n[model]\npublic_key = "{text}"')
        assert config.public_key_bytes(made.mqtt.guardian_keys[0]) == raw
        assert config.public_key_bytes(made.model.public_key) == raw


def test_no_key_of_the_file_holds_a_secret() -> None:
    assert not [
        key for key in KEYS if re.search(r"password|secret|token|private", key[1]) and not key[1].endswith("_file")
    ]


def test_a_file_without_permission_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "closed.toml"
    file.write_text("")
    file.chmod(0)
    said = said_of(
        file,
        "from pathlib import Path; from device import config; from device.errors import ConfigError\n"
        "try: config.load(Path(sys.argv[1]))\nexcept ConfigError as error: print(error)",
    )
    assert "permission denied" in said
