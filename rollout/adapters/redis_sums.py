"""Sums of evidence in Redis: of each feature its epochs, of each epoch a hash with a field per element."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import cast

from rollout.adapters import redis_scripts as names
from rollout.adapters.redis_connection import RedisConnection, pairs
from rollout.adapters.redis_control_scripts import ADD_SUMS, REPLACE_SUMS
from rollout.core import sums as rules
from rollout.core.sums import Replacement, SumKey

_COUNTED, _OUT_OF_RANGE, _TOO_MANY = 0, -1, -2


class RedisSums(RedisConnection):
    """What every worker adds to, and the controller reads."""

    async def add_sums(self, deltas: Mapping[SumKey, Sequence[int]], flush_id: str) -> bool:
        """See `Store.add_sums`."""
        rules.check_flush(deltas, flush_id)
        by_epoch: defaultdict[tuple[str, int], list[str | int]] = defaultdict(list)
        for key, vector in deltas.items():
            fields = ((f"{index}|{key.name}", value) for index, value in enumerate(vector))
            by_epoch[key.feature, key.epoch].extend(chain.from_iterable(fields))
        keys = ((names.epochs_of(feature), names.sums_of(feature, epoch)) for feature, epoch in by_epoch)
        values = ((epoch, len(pairs) // 2, *pairs) for (_, epoch), pairs in by_epoch.items())
        limits = (_ms(rules.REMEMBER_FLUSH_S), _ms(rules.KEEP_S), rules.VALUES_PER_EPOCH_MAX, rules.EPOCHS_MAX)
        all_keys = (names.flush_of(flush_id), *chain.from_iterable(keys))
        head = (*limits, f"{rules.SUM_MAX:.0f}")
        code = await self._script(ADD_SUMS, all_keys, (*head, *chain.from_iterable(values)))
        if code in {_OUT_OF_RANGE, _TOO_MANY}:
            raise rules.out_of_range() if code == _OUT_OF_RANGE else rules.too_many()
        return bool(code != _COUNTED)

    async def read_sums(self, feature: str) -> dict[SumKey, tuple[int, ...]]:
        """See `Store.read_sums`."""
        epochs = await self._epochs(feature)
        read = await self._read(*(("HGETALL", names.sums_of(feature, epoch)) for epoch in epochs)) if epochs else []
        vectors: defaultdict[SumKey, dict[int, int]] = defaultdict(dict)
        for epoch, stored in zip(epochs, map(pairs, read), strict=True):
            for field, value in stored.items():
                index, _, name = field.decode().partition("|")
                vectors[SumKey(feature, epoch, name)][int(index)] = int(value)
        return {key: tuple(found[index] for index in sorted(found)) for key, found in vectors.items()}

    async def replace_sums(self, asked: Replacement) -> bool:
        """See `Store.replace_sums`."""
        rules.check_replacement(asked)
        there, new = _elements(asked.found), _elements(asked.instead)
        absent = [f"{len(vector)}|{name}" for name, vector in asked.found.items()]
        values = (len(there) // 2, *there, len(absent), *absent, len(new) // 2, *new)
        return bool(await self._script(REPLACE_SUMS, (names.sums_of(asked.feature, asked.epoch),), values))

    async def _epochs(self, feature: str) -> list[int]:
        found = cast("list[bytes]", await self._answer(self._redis.zrange(names.epochs_of(feature), 0, -1)))
        return sorted(map(int, found))


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)


def _elements(vectors: Mapping[str, Sequence[int]]) -> list[str | int]:
    """Field and value of each."""
    pairs_of_each = (
        (f"{index}|{name}", value) for name, vector in vectors.items() for index, value in enumerate(vector)
    )
    return list(chain.from_iterable(pairs_of_each))
