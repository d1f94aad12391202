"""The process that compiles: it reads an order and writes what it found.

Its environment must be that of `topology.environment`: a compiler for TPUs reads it
when it is loaded, and may end the process.
"""

import json
import sys
from pathlib import Path


def main() -> int:
    """Takes the names of two files, both JSON: the order, and what was found for it."""
    from jaxalign.errors import UserError
    from jaxalign.recipes.planning.order import Order, carry_out

    order, out = (Path(name) for name in sys.argv[1:])

    def tell(text: str) -> None:
        # Into a pipe Python writes by blocks, and a line would wait for minutes.
        print(text, flush=True)

    try:
        found = carry_out(Order(**json.loads(order.read_text())), tell)
    except UserError as error:
        found = {"error": str(error)}
    out.write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
