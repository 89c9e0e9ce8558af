from django.apps import AppConfig
from django.core.signals import setting_changed


class GatecastConfig(AppConfig):
    name = "gatecast.django"
    label = "gatecast"
    verbose_name = "Gatecast"

    def ready(self):
        from . import signals

        signals.connect()
        setting_changed.connect(_setting_changed, dispatch_uid="gatecast.settings")


def _setting_changed(*, setting, **_):
    if setting == "GATECAST":
        from . import reset_publisher

        reset_publisher()
