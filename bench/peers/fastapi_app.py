"""FastAPI as it is usually written: asynchronous endpoints, a model of the body, a connection pool."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import psycopg
import redis.asyncio as redis
from fastapi import FastAPI, Header, Response
from fastapi.responses import JSONResponse
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, Field

from bench.peers import settings_of_peer, work

settings = settings_of_peer.load()
pool = AsyncConnectionPool(
    settings.database_url,
    min_size=8,
    max_size=8,
    open=False,
    kwargs={"autocommit": True, "prepare_threshold": 0},
)
cache = redis.Redis.from_url(settings.redis_url, max_connections=16)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    await pool.open(wait=True)
    yield
    await pool.close()


app = FastAPI(lifespan=lifespan)


class Movement(BaseModel):
    points: int = Field(ge=1, le=1_000_000_000)
    reason: str


Key = Annotated[str, Header(alias="Idempotency-Key")]


@app.get("/api/v1/accounts/{account_number}/balance")
async def balance(account_number: str) -> Response:
    found = await cache.get(f"bench:{account_number}")
    if found is None:
        return JSONResponse({}, status_code=404)
    return Response(found, media_type="application/json")


@app.post("/api/v1/accounts/{account_number}/earn", status_code=201)
async def earn(account_number: str, movement: Movement, key: Key) -> Response:
    return await _write("earn", settings.earn, account_number, movement, key)


@app.post("/api/v1/accounts/{account_number}/spend", status_code=201)
async def spend(account_number: str, movement: Movement, key: Key) -> Response:
    return await _write("spend", settings.spend, account_number, movement, key)


async def _write(kind: str, statement: str, account_number: str, movement: Movement, key: str) -> Response:
    values: dict[str, Any] = work.parameters(
        settings,
        kind=kind,
        account_number=account_number,
        key=key,
        body=movement.model_dump_json().encode(),
        points=movement.points,
    )
    async with pool.connection() as connection:
        try:
            row = await (await connection.execute(statement, values, binary=True)).fetchone()
        except psycopg.errors.UniqueViolation:
            row = None
        if row is not None:
            return JSONResponse(work.answer(values, row), status_code=201)
        known = await (await connection.execute(work.KNOWN_KEY, values)).fetchone()
    status, answer = work.answer_without_effect(values, known)
    return JSONResponse(answer, status_code=status)
