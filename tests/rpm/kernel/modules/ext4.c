// SPDX-License-Identifier: GPL-2.0 OR MIT
#include <linux/module.h>

static int __init ext4_init(void)
{
	return 0;
}
module_init(ext4_init);

MODULE_ALIAS("fs-ext4");
MODULE_LICENSE("GPL");
