"""The verbs: a request about a resource, answered from the `Api`.

Reads are answered at once. Writes are committed at once too, and then wait for the hooks of their
resource (`Api.before_answer`) before they are answered.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from k8slab.embedded.apiserver import (
    admission,
    bodies,
    deletion,
    eventsview,
    objectmeta,
    patching,
    preconditions,
    queries,
    statuses,
    subresources,
    warnings,
)
from k8slab.embedded.apiserver.auth import authorize
from k8slab.embedded.apiserver.http import Response
from k8slab.embedded.apiserver.options import deleter_of, validation_of, warnings_of, writer_of
from k8slab.embedded.apiserver.routes import action_of, verb_of
from k8slab.embedded.apiserver.selection import selection_of
from k8slab.embedded.apiserver.store import Entry
from k8slab.embedded.apiserver.views import view_of
from k8slab.embedded.apiserver.watching import Watching
from k8slab.errors import ApiStatusError, ReviewPendingError
from k8slab.objects.meta import name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.embedded.apiserver.pki import Tokens
    from k8slab.embedded.apiserver.routes import Target
    from k8slab.objects.meta import Object

    Answer = Response | Awaitable[Response]


WHOLE = ("status", "finalize", "ephemeralcontainers", "resize")
"""Subresources that show the object itself, and change one part of it."""


class Rest:
    """Answers requests about resources."""

    def __init__(self, api: Api, tokens: Tokens) -> None:
        self.api = api
        self.tokens = tokens
        self.watching = Watching(api.store)
        self._verbs: dict[str, Callable[[Request, Target], Answer]] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }

    def answer(self, request: Request, target: Target) -> Answer:
        """Answer a request that is authorized already, apart from streaming subresources."""
        verb = verb_of(request, target)
        kind = target.kind
        allowed = kind.verbs
        if target.subresource:
            sub = kind.subresource(target.subresource)
            allowed = sub.verbs if sub else ()
        # One object is changed by its name, and made in the collection.
        wrong = verb in ("update", "patch") if not target.name else verb == "create"
        if wrong and not target.subresource:
            raise statuses.method_not_supported(kind.resource, verb)
        if verb not in allowed or verb not in self._verbs:
            raise statuses.method_not_supported(kind.resource, verb)
        if target.subresource not in ("", *WHOLE):
            return subresources.answer(self, request, target, verb)
        answer = self._verbs[verb](request, target)
        deprecation = warnings.DEPRECATED_KINDS.get(kind.resource)
        if kind.custom:
            deprecation = kind.custom.deprecation
        return _warned(answer, warnings_of([deprecation])) if deprecation else answer

    # --- reading

    def _get(self, request: Request, target: Target) -> Response:
        view = view_of(request, target.kind)
        queries.reached(request, self.api.store.revision)
        entry = self.api.store.entry(target.kind.storage, target.namespace, target.name)
        if entry is None:
            raise statuses.not_found(target.kind.resource, target.name)
        return Response(body=view.one(entry))

    def _list(self, request: Request, target: Target) -> Response:
        kind, store = target.kind, self.api.store
        view = view_of(request, kind)
        selection = selection_of(request, kind, target.namespace)
        revision, after = queries.position(request, store.revision)
        if revision == store.revision:
            entries = store.entries(kind.storage, target.namespace)
        else:
            entries = _entries_at(self.api, target, revision, paged=bool(after))
        if selection.is_filtered:
            entries = [entry for entry in entries if selection.matches(entry.object)]
        if after:
            entries = [entry for entry in entries if _place(entry) > after]
        metadata: Object = {"resourceVersion": str(revision)}
        limit = queries.page_size(request)
        if 0 < limit < len(entries):
            if not selection.is_filtered:
                metadata["remainingItemCount"] = len(entries) - limit
            entries = entries[:limit]
            metadata["continue"] = queries.continue_token(revision, _place(entries[-1]))
        return Response(body=view.many(entries, metadata))

    def _watch(self, request: Request, target: Target) -> Response:
        kind = target.kind
        view = view_of(request, kind, stream=True)
        selection = selection_of(request, kind, target.namespace, target.name)
        options = queries.watch_options(request)
        feed = self.watching.feed(kind.storage, selection, view, options)
        return Response(feed=feed)

    # --- writing

    def _create(self, request: Request, target: Target) -> Answer:
        kind = target.kind
        view = view_of(request, kind)
        body = bodies.parse(request, bodies.content_type(request))
        obj, complaints = bodies.read_object(body, kind, validation=validation_of(request))
        obj = _placed(obj, target)
        if special := subresources.CREATE_ONLY.get(kind.kind):
            return special(self, request, target, obj)
        if kind.stored_as:
            obj = eventsview.to_core(obj)
        made = self.api.create(kind.resource, obj, writer=writer_of(request), owned=True)
        complaints += warnings.about(kind, made, new=True)
        return self.settled(target, made, view.one, 201, complaints)

    def _update(self, request: Request, target: Target) -> Answer:
        kind = target.kind
        view = view_of(request, kind)
        body = bodies.parse(request, bodies.content_type(request))
        obj, complaints = bodies.read_object(body, kind, validation=validation_of(request))
        objectmeta.check_place(obj.get("metadata") or {}, target.name, target.namespace)
        obj = _placed(obj, target)
        if kind.stored_as:
            obj = eventsview.to_core(obj)
        if self._is_missing(target):
            made = self._made_by_put(request, kind, obj)
            complaints += warnings.about(kind, made, new=True)
            return self.settled(target, made, view.one, 201, complaints)
        made = self.api.update(
            kind.resource,
            obj,
            subresource=target.subresource,
            writer=writer_of(request),
            owned=True,
        )
        complaints += warnings.about(kind, made, new=False)
        return self.settled(target, made, view.one, 200, complaints)

    def _is_missing(self, target: Target) -> bool:
        """Say whether an update makes the object, since it is not there yet."""
        kind = target.kind
        if target.subresource or kind.storage not in preconditions.MADE_BY_PUT:
            return False
        return self.api.get(kind.resource, target.name, target.namespace) is None

    def _made_by_put(self, request: Request, kind: Kind, obj: Object) -> Object:
        """Create what an update named; whoever sent it has to be allowed to create it too."""
        authorize(self.api.roles, request.user, replace(action_of(request), verb="create"))
        metadata = obj["metadata"]
        if uid := metadata.get("uid"):
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
            raise statuses.conflict(kind.resource, metadata["name"], why)
        # The version of an object that has gone is no hindrance.
        obj["metadata"] = {key: metadata[key] for key in metadata if key != "resourceVersion"}
        return self.api.create(kind.resource, obj, writer=writer_of(request), owned=True)

    def _patch(self, request: Request, target: Target) -> Answer:
        view = view_of(request, target.kind)
        made, status, complaints = patching.patch(self.api, request, target)
        complaints += warnings.about(target.kind, made, new=status == 201)
        return self.settled(target, made, view.one, status, complaints)

    def _delete(self, request: Request, target: Target) -> Answer:
        view = view_of(request, target.kind)
        options = queries.delete_options(request)
        admission.check_delete(target.kind, target.name)
        gone = self._delete_one(request, options, target.name, target)
        tried = bool(options.get("dryRun"))
        left = not deletion.is_finished(target.kind, gone) if tried else None
        return self.settled(target, gone, self._shown_deleted(target, view.one, left=left), 200, [])

    def _delete_one(self, request: Request, options: Object, name: str, target: Target) -> Object:
        preconditions = options.get("preconditions") or {}
        propagation = options.get("propagationPolicy") or ""
        if "orphanDependents" in options:
            propagation = "Orphan" if options["orphanDependents"] else "Background"
        if not propagation and (obj := self.api.get(target.kind.resource, name, target.namespace)):
            propagation = deletion.default_propagation(target.kind, obj)
        return self.api.delete(
            target.kind.resource,
            name,
            target.namespace,
            grace=options.get("gracePeriodSeconds"),
            uid=preconditions.get("uid") or "",
            version=preconditions.get("resourceVersion") or "",
            propagation=propagation,
            writer=deleter_of(request, options),
        )

    def _shown_deleted(
        self, target: Target, show: Callable[[Entry], bytes], *, left: bool | None
    ) -> Callable[[Entry], bytes]:
        """Show an object that is `left`, or one of `deletion.SHOWN`; else that it has gone.

        ``None``: look for it.
        """

        def shown(entry: Entry) -> bytes:
            kind, gone = target.kind, entry.object
            stays = left
            if stays is None:
                stays = bool(self.api.get(kind.resource, target.name, target.namespace))
            if stays or kind.resource in deletion.SHOWN:
                return show(entry)
            details = {"name": target.name, "kind": kind.plural, "uid": gone["metadata"]["uid"]}
            if kind.group:
                details["group"] = kind.group
            return orjson.dumps(
                {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "metadata": {},
                    "status": "Success",
                    "details": details,
                }
            )

        return shown

    async def _delete_collection(self, request: Request, target: Target) -> Response:
        kind = target.kind
        view = view_of(request, kind)
        options = queries.delete_options(request)
        selection = selection_of(request, kind, target.namespace)
        chosen = [
            entry
            for entry in self.api.store.entries(kind.storage, target.namespace)
            if selection.matches(entry.object)
        ]
        for entry in chosen:
            name = name_of(entry.object)
            place = replace(target, namespace=namespace_of(entry.object))
            while self.api.get(kind.resource, name, place.namespace):
                try:
                    gone = self._delete_one(request, options, name, place)
                except ReviewPendingError as pending:
                    request.ledger = pending.ledger
                    await pending.answered()
                    continue
                await self.api.settle(kind.resource, gone)
                break
        metadata = {"resourceVersion": str(self.api.store.revision)}
        return Response(body=view.many(chosen, metadata))

    def settled(
        self,
        target: Target,
        made: Object,
        show: Callable[[Entry], bytes],
        status: int,
        complaints: list[str],
    ) -> Answer:
        """Answer with `made`: at once, or after the hooks of its resource."""
        kind = target.kind
        entry = self.api.store.entry(kind.storage, namespace_of(made), name_of(made))
        if entry is None or entry.object is not made:
            entry = Entry(made, orjson.dumps(made))
        headers = warnings_of(complaints)
        waits = self.api.outstanding(kind.resource, made)
        if waits is None:
            return Response(status=status, body=show(entry), headers=headers)

        async def later() -> Response:
            await waits
            return Response(status=status, body=show(entry), headers=headers)

        return later()


def _warned(answer: Answer, headers: list[tuple[str, str]]) -> Answer:
    """Return the answer with more headers, whenever it comes."""
    if isinstance(answer, Response):
        answer.headers += headers
        return answer

    async def later() -> Response:
        response = await answer
        response.headers += headers
        return response

    return later()


def _placed(obj: Object, target: Target) -> Object:
    """Return the object with namespace and name of the request; 400 when they differ."""
    metadata = dict(obj.get("metadata") or {})
    if target.kind.namespaced:
        if metadata.get("namespace") not in (None, "", target.namespace):
            raise statuses.bad_request(
                "the namespace of the provided object does not match "
                "the namespace sent on the request"
            )
        if not target.namespace:
            raise statuses.bad_request("an empty namespace may not be set during creation")
        metadata["namespace"] = target.namespace
    if target.name:
        if metadata.get("name") not in (None, "", target.name):
            raise statuses.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL "
                f"({target.name})"
            )
        metadata["name"] = target.name
    return {**obj, "metadata": metadata}


def _place(entry: Entry) -> str:
    return f"{namespace_of(entry.object)}/{name_of(entry.object)}"


def _entries_at(api: Api, target: Target, revision: int, *, paged: bool) -> list[Entry]:
    try:
        return api.store.entries_at(target.kind.storage, target.namespace, revision)
    except ApiStatusError as error:
        if error.code != 410:
            raise
        if not paged:
            why = "The resourceVersion for the provided list is too old."
            raise statuses.expired(why) from error
        raise statuses.expired(
            "The provided continue parameter is too old to display a consistent list result. "
            "You must start a new list without the continue parameter."
        ) from error
