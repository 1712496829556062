"""An independent MQTT-SN client against the gateway: mqtt-sn-12 from PyPI.

Usage: client.py PORT PUBLICATIONS

Connects to the gateway on the loopback, registers input/antonio/temperature and publishes to
it at QoS 0, 1 and 2; then subscribes to output/# and prints each publication that comes as
"received TOPIC PAYLOAD", until it has PUBLICATIONS of them. Prints "done" at its end.
"""

import sys
import time

from mqttsn12.client.MqttSnClient import MqttSnClient, MqttSnListener
from mqttsn12.MqttSnConstants import MqttSnConstants

TOPIC = "input/antonio/temperature"
PATIENCE_S = 20


class Printer(MqttSnListener):
    """Prints what arrives and counts it."""

    count = 0

    def message_arrived(self, msg):
        self.count += 1
        print("received", msg.get_topic_name(), msg.get_payload().decode())


def publish(client):
    """Registers the topic and publishes to it at every quality of service."""
    topic_id = client.send_register(TOPIC)
    print("registered", topic_id)
    for qos in (MqttSnConstants.QOS_0, MqttSnConstants.QOS_1, MqttSnConstants.QOS_2):
        payload = f"at QoS {qos}".encode()
        client.send_publish_with_id(
            topic_id, MqttSnConstants.TOPIC_TYPE_NORMAL, payload, qos
        )
        print("published", qos)


def listen(client, publications):
    """Subscribes and waits for the publications."""
    printer = Printer()
    # Version 1.0.9 acknowledges nothing it receives: at QoS 1 it compares the level with the
    # flag, and it does not know PUBREC at all. So it can be subscribed at QoS 0 only.
    client.send_subscribe("output/#", MqttSnConstants.QOS_0, printer)
    print("subscribed")
    end = time.monotonic() + PATIENCE_S
    while printer.count < publications and time.monotonic() < end:
        client.polling()
        time.sleep(0.01)


def main():
    port, publications = int(sys.argv[1]), int(sys.argv[2])
    client = MqttSnClient()
    client.set_client_id("antonio")
    client.set_timeout(10)
    client.open("127.0.0.1", port)
    client.send_connect()
    print("connected")
    publish(client)
    listen(client, publications)
    client.send_disconnect()
    client.close()
    print("done")


if __name__ == "__main__":
    main()
