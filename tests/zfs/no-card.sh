# Runs in the booted image of a machine without a card of NVIDIA's.
modprobe nvidia && { echo 'there is a card'; exit 1; }
dmesg | tail -n 5
dmesg | grep -q 'No NVIDIA GPU found'
