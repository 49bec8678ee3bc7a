"""What a peer is told by the bench: the file that BENCH_PEER names."""

import json
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PeerSettings:
    database_url: str
    redis_url: str
    earn: str
    spend: str
    client_id: int
    earn_reason_id: int
    earn_policy_id: int
    spend_reason_id: int


def load() -> PeerSettings:
    values = json.loads(Path(os.environ["BENCH_PEER"]).read_text())
    return PeerSettings(**values)
