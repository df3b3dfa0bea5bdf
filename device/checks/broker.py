"""Whether the broker lets this device do what it must: come in, publish, subscribe. For `doctor`.

It comes in under a client id of its own, beside a running service, and without a will.
"""

import time
from collections.abc import Iterator

from device.checks.finding import Finding, fail, ok, warn
from device.config import Config, mqtt_password
from device.mqtt.link import Link
from device.mqtt.reasons import LinkError, reason_in_words, settings_of

PATIENCE_S = 5.0
_FIRST_ERROR = 128


def probe(config: Config) -> Iterator[Finding]:
    """What each part of it answers, as far as one comes."""
    mqtt, device = config.mqtt, config.device.name
    settings = settings_of(mqtt, f"outcry-{device}-doctor", mqtt_password(config))
    answers: dict[int, int] = {}
    link = Link(settings, lambda message: None, answers.__setitem__)
    try:
        began = time.monotonic()
        link.open()
        yield ok("broker", f"{settings.place} lets us in ({1000 * (time.monotonic() - began):.0f} ms)")
        if not mqtt.tls:
            yield warn("broker", "the connection is not encrypted", "give the broker TLS and set mqtt.tls")
        yield _publishes(link, answers, f"outcry/{device}/level")
        yield _subscribes(link, [f"outcry/{device}/command", f"outcry/{device}/receipt"])
    except LinkError as error:
        yield fail("broker", str(error), "check [mqtt] and the broker's log")
    finally:
        link.close(0.5)


def _publishes(link: Link, answers: dict[int, int], topic: str) -> Finding:
    # The one topic where a stray message disturbs nobody.
    number = link.publish(topic, b'{"danger":0,"emotions":{}}', qos=1, retain=False)
    until = time.monotonic() + PATIENCE_S
    while number not in answers and time.monotonic() < until:
        link.turn(0.1)
    code = answers.get(number)
    if code is None:
        return fail("broker", f"no PUBACK for {topic} within {PATIENCE_S:g} s", "look at the broker: does it hang?")
    if code >= _FIRST_ERROR:
        why = reason_in_words(code)
        return fail("broker", f"may not publish on {topic}: {why}", "let its ACL write outcry/<device>/#")
    return ok("broker", f"may publish on {topic}")


def _subscribes(link: Link, topics: list[str]) -> Finding:
    link.subscribe(topics)
    until = time.monotonic() + 1.0
    denied: list[str] = []
    while time.monotonic() < until:
        link.turn(0.1)
        denied += link.denied_filters()
    if denied:
        return fail("broker", f"may not subscribe to {denied[0]}", "let its ACL read command and receipt")
    return ok("broker", "may subscribe to commands and receipts")
