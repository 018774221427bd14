// SPDX-License-Identifier: GPL-2.0 OR MIT
#ifndef LINUX_INIT_H
#define LINUX_INIT_H
#define __init __attribute__((section(".init.text")))
#define __exit __attribute__((section(".exit.text")))
#endif
