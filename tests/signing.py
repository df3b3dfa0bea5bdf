"""Sign a command or a receipt as a guardian's client does, or make a key. docs/mqtt.md describes the signature.

python tests/signing.py new > guardian.key          # prints the public key for mqtt.guardian_keys on stderr
echo '{"command": "disarm", ...}' | python tests/signing.py sign guardian.key | mosquitto_pub -l ...
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey


def canonical(fields: dict[str, Any]) -> bytes:
    """The signed bytes: without `sig`, keys sorted, no spaces, UTF-8."""
    unsigned = {name: value for name, value in fields.items() if name != "sig"}
    return json.dumps(unsigned, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signed(fields: dict[str, Any], key: SigningKey) -> str:
    """The fields with `sig`, as one line of JSON."""
    signature = key.sign(canonical(fields)).signature
    return json.dumps({**fields, "sig": base64.b64encode(signature).decode()}, ensure_ascii=False)


def public(key: SigningKey) -> str:
    """The public key as it stands in mqtt.guardian_keys."""
    return base64.b64encode(bytes(key.verify_key)).decode()


def main(arguments: list[str]) -> int:
    match arguments:
        case ["new"]:
            key = SigningKey.generate()
            print(base64.b64encode(bytes(key)).decode())
            print(f'guardian_keys = ["{public(key)}"]', file=sys.stderr)
        case ["sign", file]:
            key = SigningKey(base64.b64decode(Path(file).read_text()))
            for line in sys.stdin:
                print(signed(json.loads(line), key))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
