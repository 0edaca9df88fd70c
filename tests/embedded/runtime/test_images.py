"""Image names and what stands in for them."""

import pytest

from k8slab.embedded.runtime import images, programs
from k8slab.embedded.runtime.spec import ContainerSpec, ImageNotFoundError


@pytest.mark.parametrize(
    ("reference", "name", "tag"),
    [
        ("nginx", "docker.io/library/nginx", "latest"),
        ("nginx:1.27", "docker.io/library/nginx", "1.27"),
        ("library/nginx", "docker.io/library/nginx", "latest"),
        ("docker.io/library/nginx:1", "docker.io/library/nginx", "1"),
        ("traefik/whoami@sha256:" + "0" * 64, "docker.io/traefik/whoami", "latest"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause", "3.10"),
        ("localhost:5000/x:y", "localhost:5000/x", "y"),
        ("k8slab/app:minimal", "k8slab/app", "minimal"),
    ],
)
def test_names_are_completed_as_a_registry_client_does(reference, name, tag):
    assert images.normalise(reference) == (name, tag)


@pytest.mark.parametrize("image", images.CATALOGUE, ids=lambda image: image.name)
def test_every_image_is_found_by_its_name_and_says_what_stands_in(image):
    assert images.find(image.name) is image
    assert image.stands_in
    assert image.app or image.command


def test_any_tag_or_digest_of_a_known_image_is_fine():
    assert images.find("nginx:1.27-alpine").name == "docker.io/library/nginx"
    assert images.find("busybox@sha256:" + "1" * 64).name == "docker.io/library/busybox"
    assert images.find("docker.io/k8slab/app:1").name == "k8slab/app"
    assert not images.find("k8slab/app:minimal").tools


@pytest.mark.parametrize(("wrong", "near"), [("ngnix", "nginx"), ("k8slab/ap", "k8slab/app")])
def test_an_unknown_image_names_the_nearest_and_all(wrong, near):
    with pytest.raises(ImageNotFoundError) as caught:
        images.find(wrong)
    assert f"The nearest is {near}." in caught.value.hint
    assert "busybox" in caught.value.hint
    assert "not found in the image catalogue" in caught.value.message


def program(image, **spec):
    wanted = ContainerSpec(name="c", image=image, **spec)
    return programs.of_container(images.find(image), wanted, "host")


def test_an_app_runs_for_the_images_own_program_and_gets_its_arguments():
    assert program("nginx").app == images.WEB
    assert program("nginx").argv == ("nginx", "--mode", "nginx")
    agnhost = "registry.k8s.io/e2e-test-images/agnhost:2.53"
    assert program(agnhost).argv == ("/agnhost", "--mode", "agnhost", "pause")
    given = program(agnhost, args=("netexec", "--http-port=80"))
    assert given.argv == ("/agnhost", "--mode", "agnhost", "netexec", "--http-port=80")


def test_a_pods_command_replaces_the_program_and_its_default_arguments():
    shell = program("nginx", command=("sh", "-c", "env"))
    assert (shell.app, shell.argv) == ("", ("sh", "-c", "env"))
    same = program("nginx", command=("/usr/sbin/nginx",), args=("-g",))
    assert (same.app, same.argv) == (images.WEB, ("/usr/sbin/nginx", "--mode", "nginx", "-g"))
    assert program("busybox").argv == ("sh",)
    assert program("busybox", args=("ls",)).argv == ("ls",)


def test_the_pods_variables_win_over_the_usual_ones():
    found = program("busybox", environment={"HOME": "/x", "A": "b"}).environment
    assert found["HOSTNAME"] == "host"
    assert (found["HOME"], found["A"]) == ("/x", "b")
    assert "TERM" not in found
    assert program("busybox", tty=True).environment["TERM"] == "xterm"
