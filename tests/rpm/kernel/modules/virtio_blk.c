// SPDX-License-Identifier: GPL-2.0 OR MIT
#include <linux/module.h>

int register_virtio_driver(void);

static int __init virtio_blk_init(void)
{
	return register_virtio_driver();
}
module_init(virtio_blk_init);

MODULE_ALIAS("virtio:d00000002v*");
MODULE_LICENSE("GPL");
