"""Searches that were completed, believed for a while."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from urllib.parse import urlsplit

import requests

from tasks.downloads.cache import Pace, SharedCache, digest_of, read_json, write_json
from tasks.downloads.patience import Passing, patiently
from tasks.transits.sources.portal import search
from tasks.transits.sources.products import AUTHORS, Choice, Product, Query, checked, choose, from_json, to_json
from tasks.transits.sources.settings import MastSettings

_FORM = 1  # of the files; raised whenever an older one would be misread


class Queries:
    """MAST's lists of light curves, through the cache."""

    def __init__(self, settings: MastSettings, cache: SharedCache, session: requests.Session, pace: Pace) -> None:
        self._settings = settings
        self._cache = cache
        self._session = session
        self._pace = pace

    def ask(self, query: Query) -> Choice:
        """What MAST has for ``query``. The segments and the cadence are no part of the search that is kept.

        A kept search that lacks what is asked for is believed for a shorter time: it may have come in since.
        Raises TransientError where MAST cannot be asked, BadInput where it refuses.
        """
        key = self._key(query)
        with self._cache.locked(key):
            kept, age = self._kept(key)
            if age < self._settings.query_seconds:
                choice = choose(kept, query)
                if (choice.products and not choice.missing) or age < self._settings.empty_seconds:
                    return choice
            found = patiently(lambda: self._search(query), f"search for {query}", self._settings.tries, self._pace)
            self._keep(key, found)
        return choose(found, query)

    def _key(self, query: Query) -> str:
        authors = {mission: AUTHORS[mission] for mission in query.missions}
        asked = {"form": _FORM, "server": self._settings.server, "name": query.name, "authors": authors}
        asked |= {"exact": query.exact} | ({} if query.exact else {"resolver": self._settings.resolver})
        return json.dumps(asked, sort_keys=True)

    def _kept(self, key: str) -> tuple[tuple[Product, ...], float]:
        """The products of the kept search and its age in seconds; an age without end where there is none to believe."""
        content = read_json(self._cache.place("queries", key, f"{digest_of(key)}.json"))
        try:
            age = self._pace.now() - float(content["completed_at"])
            products = tuple(checked(from_json(row)) for row in content["products"])
        except (KeyError, TypeError, ValueError):
            return (), math.inf
        believable = content.get("asked") == key and age >= 0  # one from the future: a clock was set back
        return (products, age) if believable else ((), math.inf)

    def _keep(self, key: str, found: Sequence[Product]) -> None:
        content = {"asked": key, "completed_at": self._pace.now(), "products": [to_json(product) for product in found]}
        write_json(self._cache.place("queries", key, f"{digest_of(key)}.json"), content)

    def _search(self, query: Query) -> tuple[Product, ...]:
        host = urlsplit(self._settings.server).netloc
        try:
            with self._cache.connection(host):
                return search(query, self._settings, self._session, self._pace.now())
        except Passing as error:
            if error.wait_seconds:
                self._cache.quieten(host, error.wait_seconds)
            raise
