"""P17: resident memory of a web process and of a worker, while requests go on."""

from bench import load, processor_time
from bench.figures.http import writing
from bench.figures.options import Options
from bench.load import Requests
from bench.row import Row
from bench.world import PREFIX, World

_MOST_BYTES = 150 * 2**20
_STEPS = 5
#: Growth between the middle and the end that is more than noise.
_GROWTH_BYTES = 5 * 2**20


def resident(world: World, options: Options) -> list[Row]:
    """A fifth of the requests earn, the others read balances; memory is looked at after every fifth."""
    workers = world.workers()
    child, url = world.web()
    directory = world.stack.data_dir / "run"
    reads = Requests(
        method="GET",
        path=f"/api/v1/accounts/{PREFIX}{{account}}/balance",
        accounts=world.accounts,
        headers=world.authorization(),
    )
    done = 0
    web: list[int] = []
    worker: list[int] = []
    while done < options.requests_for_memory:
        step = done + options.requests_for_memory / _STEPS
        while done < step:
            done += load.run(url, writing(world, "earn"), seconds=2, directory=directory).requests
            done += load.run(url, reads, seconds=2, directory=directory).requests
        web.append(_biggest(child.pid))
        worker.append(max(_biggest(each.pid) for each in workers))
        options.tell(f"    after {done:,}: web {web[-1] / 2**20:.0f} MB, worker {worker[-1] / 2**20:.0f} MB")
    return [_row("a web process", web, done), _row("a worker process", worker, done)]


def _biggest(pid: int) -> int:
    return max(processor_time.resident_bytes(each) for each in processor_time.tree(pid))


def _row(what: str, sizes: list[int], requests: int) -> Row:
    grown = sizes[-1] - sizes[len(sizes) // 2]
    return Row(
        figure="P17",
        what=f"resident memory of {what} after {requests:,} requests",
        ours=f"{sizes[-1] / 2**20:.0f} MB",
        other=f"after {requests // len(sizes):,}: {sizes[0] / 2**20:.0f} MB",
        ratio=sizes[-1] / sizes[0] if sizes[0] else None,
        target="<= 150 MB, not growing",
        met=sizes[-1] <= _MOST_BYTES and grown <= _GROWTH_BYTES,
        note="the largest process, shared libraries counted in full",
        details={"bytes": sizes},
    )
