"""No pages: the tests are about WebSockets."""

urlpatterns: list[object] = []
