// SPDX-License-Identifier: GPL-2.0 OR MIT
#include <linux/module.h>

static int __init dummy_init(void)
{
	pr_info("dummy: loaded\n");
	return 0;
}
module_init(dummy_init);

MODULE_ALIAS("rtnl-link-dummy");
MODULE_LICENSE("GPL");
