"""Secrets that hold the token of a service account."""

from base64 import b64decode

ACCOUNT = "kubernetes.io/service-account.name"


def token_secret(account):
    return {
        "metadata": {
            "name": "kept",
            "namespace": "default",
            "annotations": {ACCOUNT: account},
        },
        "type": "kubernetes.io/service-account-token",
    }


def test_a_token_secret_is_filled_before_it_is_answered_and_goes_with_its_account(in_world):
    async def play(world):
        account = world.api.create(
            "serviceaccounts", {"metadata": {"name": "a", "namespace": "default"}}
        )
        made = world.api.create("secrets", token_secret("a"))
        await world.api.settle("secrets", made)
        filled = world.api.get("secrets", "kept", "default")
        found = {key: b64decode(value).decode() for key, value in filled["data"].items()}
        assert found == {
            "ca.crt": "CERTIFICATE",
            "namespace": "default",
            "token": "token of a in kept",
        }
        uid = filled["metadata"]["annotations"]["kubernetes.io/service-account.uid"]
        assert uid == account["metadata"]["uid"]
        world.api.delete("serviceaccounts", "a", "default")
        await world.until(lambda: world.api.get("secrets", "kept", "default") is None)

    in_world(play)


def test_a_token_secret_of_nobody_goes(in_world):
    async def play(world):
        made = world.api.create("secrets", token_secret("nobody"))
        await world.api.settle("secrets", made)
        assert world.api.get("secrets", "kept", "default") is None

    in_world(play)
