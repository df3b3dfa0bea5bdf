"""What the board says, on copies of the kernel's files."""

import pytest

from device.machine import board


def put(root, path, text):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_a_machine_that_tells_nothing(tmp_path):
    assert board.model(tmp_path) is None
    assert board.temperature_c(tmp_path) is None
    assert board.under_voltage(tmp_path) is None
    assert board.throttled(tmp_path) is None
    assert board.battery(tmp_path) is None
    assert board.clock_synchronised(tmp_path) is None
    assert board.clock_is_set(tmp_path)


def test_a_pi_zero(tmp_path):
    put(tmp_path, "proc/device-tree/model", "Raspberry Pi Zero 2 W Rev 1.0\0")
    put(tmp_path, "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "48312\n")
    put(tmp_path, "sys/class/hwmon/hwmon1/name", "rpi_volt\n")
    put(tmp_path, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
    assert board.is_pi(tmp_path)
    assert board.temperature_c(tmp_path) == pytest.approx(48.312)
    assert board.under_voltage(tmp_path) is True


def test_a_pi_whose_clock_nobody_set_tells_no_time(tmp_path):
    put(tmp_path, "proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    assert not board.clock_is_set(tmp_path)
    put(tmp_path, "run/systemd/timesync/synchronized", "")
    assert board.clock_is_set(tmp_path)


@pytest.mark.parametrize(
    ("flags", "throttled", "under_voltage"),
    [("0", False, False), ("50000", False, False), ("1", False, True), ("50005", True, True), ("8", True, False)],
)
def test_the_firmwares_flags(tmp_path, flags, throttled, under_voltage):
    put(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", flags + "\n")
    assert board.throttled(tmp_path) is throttled
    assert board.under_voltage(tmp_path) is under_voltage


def test_the_emptiest_battery_counts_and_a_mains_supply_is_none(tmp_path):
    put(tmp_path, "sys/class/power_supply/ac/type", "Mains\n")
    put(tmp_path, "sys/class/power_supply/ac/capacity", "1\n")
    put(tmp_path, "sys/class/power_supply/a/type", "Battery\n")
    put(tmp_path, "sys/class/power_supply/a/capacity", "80\n")
    put(tmp_path, "sys/class/power_supply/b/type", "Battery\n")
    put(tmp_path, "sys/class/power_supply/b/capacity", "21\n")
    put(tmp_path, "sys/class/power_supply/b/status", "Discharging\n")
    assert board.battery(tmp_path) == board.Battery(0.21, False)


@pytest.mark.parametrize("text", ["", "no number", "12x"])
def test_what_is_no_number_is_unknown(tmp_path, text):
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", text)
    put(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", "zz")
    assert board.temperature_c(tmp_path) is None
    assert board.throttled(tmp_path) is None


def test_free_space_of_a_folder_that_is_not_there_yet(tmp_path):
    assert board.free_bytes(tmp_path / "not" / "yet") > 0
