"""Completed searches of the archive, cached for a limited time."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from urllib.parse import urlsplit

import requests

from tasks.downloads.cache import Pace, SharedCache, compute_text_digest, read_json, write_json
from tasks.downloads.retries import TransientFailure, retry
from tasks.transits.sources.portal import search
from tasks.transits.sources.products import (
    AUTHORS,
    Choice,
    Product,
    Query,
    check_product,
    choose,
    convert_to_json,
    read_product,
)
from tasks.transits.sources.settings import MastSettings

_FORM = 1  # format version of the files


class Queries:
    """Asks MAST for lists of light curves, through the cache."""

    def __init__(self, settings: MastSettings, cache: SharedCache, session: requests.Session, pace: Pace) -> None:
        self._settings = settings
        self._cache = cache
        self._session = session
        self._pace = pace

    def ask(self, query: Query) -> Choice:
        """Return the choice of MAST's products for ``query``. The cached search covers all segments and cadences.

        A cached search that lacks a requested segment expires earlier, since the segment may have arrived since. Raises
        TransientError if MAST is unreachable, BadInput if it rejects the search.
        """
        key = self._make_key(query)
        with self._cache.lock(key):
            cached, age = self._read_cached(key)
            if age < self._settings.query_seconds:
                choice = choose(cached, query)
                if (choice.products and not choice.missing) or age < self._settings.empty_seconds:
                    return choice
            products = retry(lambda: self._search(query), f"search for {query}", self._settings.tries, self._pace)
            self._keep(key, products)
        return choose(products, query)

    def _make_key(self, query: Query) -> str:
        authors = {mission: AUTHORS[mission] for mission in query.missions}
        request = {"form": _FORM, "server": self._settings.server, "name": query.name, "authors": authors}
        request |= {"exact": query.exact} | ({} if query.exact else {"resolver": self._settings.resolver})
        return json.dumps(request, sort_keys=True)

    def _read_cached(self, key: str) -> tuple[tuple[Product, ...], float]:
        """Return the products of the cached search and its age in seconds; an infinite age without a valid one."""
        content = read_json(self._cache.get_path("queries", key, f"{compute_text_digest(key)}.json"))
        try:
            age = self._pace.now() - float(content["completed_at"])
            products = tuple(check_product(read_product(row)) for row in content["products"])
        except (KeyError, TypeError, ValueError):
            return (), math.inf
        is_valid = content.get("asked") == key and age >= 0  # negative if the clock was set back
        return (products, age) if is_valid else ((), math.inf)

    def _keep(self, key: str, products: Sequence[Product]) -> None:
        content = {
            "asked": key,
            "completed_at": self._pace.now(),
            "products": [convert_to_json(product) for product in products],
        }
        write_json(self._cache.get_path("queries", key, f"{compute_text_digest(key)}.json"), content)

    def _search(self, query: Query) -> tuple[Product, ...]:
        host = urlsplit(self._settings.server).netloc
        try:
            with self._cache.hold_connection(host):
                return search(query, self._settings, self._session, self._pace.now())
        except TransientFailure as error:
            if error.wait_seconds:
                self._cache.set_quiet(host, error.wait_seconds)
            raise
