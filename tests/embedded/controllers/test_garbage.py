"""What goes with its owner, and how a namespace ends."""

from controller_world import deployment, is_ready, pod_object


def sets(world):
    return world.api.list("replicasets.apps", "default")


async def deployed(world, replicas=2):
    world.api.create("deployments.apps", deployment("web", replicas))
    await world.until(lambda: len(world.ready(app="web")) == replicas)


def test_in_the_background_everything_goes_after_its_owner(in_world):
    async def play(world):
        await deployed(world)
        world.api.delete("deployments.apps", "web", "default")
        assert world.api.get("deployments.apps", "web", "default") is None
        await world.until(lambda: not sets(world) and not world.pods())

    in_world(play)


def test_in_the_foreground_the_owner_goes_last(in_world):
    async def play(world):
        await deployed(world)
        world.runtime.ignores_term = True
        world.api.delete("deployments.apps", "web", "default", propagation="Foreground")
        await world.until(lambda: all("deletionTimestamp" in p["metadata"] for p in world.pods()))
        assert world.api.get("deployments.apps", "web", "default")
        assert sets(world)
        for container in tuple(world.runtime.containers):
            world.runtime.exit(container, 143)
        await world.until(lambda: not world.api.get("deployments.apps", "web", "default"))
        assert not sets(world)
        assert not world.pods()

    in_world(play)


def test_orphans_stay_without_owner(in_world):
    async def play(world):
        await deployed(world)
        world.api.delete("deployments.apps", "web", "default", propagation="Orphan")
        await world.until(lambda: not world.api.get("deployments.apps", "web", "default"))
        (left,) = sets(world)
        assert not left["metadata"].get("ownerReferences")
        assert len(world.ready(app="web")) == 2

    in_world(play)


def test_an_object_with_another_living_owner_stays(in_world):
    async def play(world):
        def config(name, owners=()):
            references = [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "name": owner["metadata"]["name"],
                    "uid": owner["metadata"]["uid"],
                }
                for owner in owners
            ]
            return world.api.create(
                "configmaps",
                {
                    "metadata": {
                        "name": name,
                        "namespace": "default",
                        "ownerReferences": references,
                    }
                },
            )

        one, two = config("one"), config("two")
        config("child", [one, two])

        def owners():
            child = world.api.get("configmaps", "child", "default")
            return child and [o["name"] for o in child["metadata"]["ownerReferences"]]

        world.api.delete("configmaps", "one", "default")
        await world.until(lambda: owners() == ["two"])
        world.api.delete("configmaps", "two", "default")
        await world.until(lambda: world.api.get("configmaps", "child", "default") is None)

    in_world(play)


def test_an_object_whose_owner_never_was_goes(in_world):
    async def play(world):
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "no-such-uid"}
        metadata = {"name": "child", "namespace": "default", "ownerReferences": [owner]}
        world.api.create("configmaps", {"metadata": metadata})
        await world.until(lambda: world.api.get("configmaps", "child", "default") is None)

    in_world(play)


def test_a_new_namespace_has_account_and_ca_before_it_is_answered(in_world):
    async def play(world):
        made = world.api.create("namespaces", {"metadata": {"name": "team"}})
        await world.api.settle("namespaces", made)
        assert world.api.get("serviceaccounts", "default", "team")
        found = world.api.get("configmaps", "kube-root-ca.crt", "team")
        assert found["data"] == {"ca.crt": "CERTIFICATE"}
        world.api.delete("configmaps", "kube-root-ca.crt", "team")
        await world.until(lambda: world.api.get("configmaps", "kube-root-ca.crt", "team"))

    in_world(play)


def test_a_deleted_namespace_is_emptied_and_goes_when_nothing_is_left(in_world):
    async def play(world):
        made = world.api.create("namespaces", {"metadata": {"name": "team"}})
        await world.api.settle("namespaces", made)
        pod = pod_object("a")
        pod["metadata"]["namespace"] = "team"
        world.api.create("pods", pod)
        await world.until(lambda: is_ready(world.pod("a", "team")))
        world.runtime.ignores_term = True
        world.api.delete("namespaces", "team")
        await world.until(lambda: "deletionTimestamp" in world.pod("a", "team")["metadata"])
        found = world.api.get("namespaces", "team")
        assert found["status"]["phase"] == "Terminating"
        told = found["status"]["conditions"]
        assert [(c["type"], c["status"], c["reason"], c["message"]) for c in told] == [
            (
                "NamespaceDeletionDiscoveryFailure",
                "False",
                "ResourcesDiscovered",
                "All resources successfully discovered",
            ),
            (
                "NamespaceDeletionGroupVersionParsingFailure",
                "False",
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed",
            ),
            (
                "NamespaceDeletionContentFailure",
                "False",
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
            (
                "NamespaceContentRemaining",
                "True",
                "SomeResourcesRemain",
                "Some resources are remaining: pods. has 1 resource instances",
            ),
            (
                "NamespaceFinalizersRemaining",
                "False",
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            ),
        ]
        assert not world.api.list("configmaps", "team")
        (container,) = world.runtime.containers
        world.runtime.exit(container, 143)
        await world.until(lambda: world.api.get("namespaces", "team") is None)

    in_world(play)


CUSTOM = {
    "metadata": {"name": "boxes.stable.example.com"},
    "spec": {
        "group": "stable.example.com",
        "scope": "Namespaced",
        "names": {"plural": "boxes", "kind": "Box"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object"}},
            }
        ],
    },
}
BOXES = CUSTOM["metadata"]["name"]


def box(name, namespace, *owners):
    metadata = {"name": name, "namespace": namespace, "ownerReferences": list(owners)}
    return {"apiVersion": "stable.example.com/v1", "kind": "Box", "metadata": metadata}


def test_custom_resources_made_later_go_with_their_owners_and_own_others(in_world):
    async def play(world):
        world.api.create("customresourcedefinitions.apiextensions.k8s.io", CUSTOM)
        owner = world.api.create(BOXES, box("outer", "default"))
        reference = {
            "apiVersion": "stable.example.com/v1",
            "kind": "Box",
            "name": "outer",
            "uid": owner["metadata"]["uid"],
        }
        world.api.create(BOXES, box("inner", "default", reference))
        metadata = {"name": "note", "namespace": "default", "ownerReferences": [reference]}
        world.api.create("configmaps", {"metadata": metadata})
        world.api.delete(BOXES, "outer", "default")
        await world.until(lambda: not world.api.list(BOXES))
        await world.until(lambda: world.api.get("configmaps", "note", "default") is None)

    in_world(play)


def test_a_namespace_takes_its_custom_resources_with_it(in_world):
    async def play(world):
        world.api.create("customresourcedefinitions.apiextensions.k8s.io", CUSTOM)
        world.api.create("namespaces", {"metadata": {"name": "brief"}})
        world.api.create(BOXES, box("one", "brief"))
        world.api.delete("namespaces", "brief")
        await world.until(lambda: world.api.get("namespaces", "brief") is None)
        assert not world.api.list(BOXES)

    in_world(play)
