// SPDX-License-Identifier: GPL-2.0 OR MIT
/* As much of the kernel's module.h as the modules of the tests use, with the true section names. */
#ifndef LINUX_MODULE_H
#define LINUX_MODULE_H

#include <linux/init.h>

#define INFO_NAME_(line) info_##line
#define INFO_NAME(line) INFO_NAME_(line)
#define MODULE_INFO(tag, text) \
	static const char INFO_NAME(__COUNTER__)[] __attribute__((used, section(".modinfo"), aligned(1))) = #tag "=" text
#define MODULE_LICENSE(text) MODULE_INFO(license, text)
#define MODULE_DESCRIPTION(text) MODULE_INFO(description, text)
#define MODULE_VERSION(text) MODULE_INFO(version, text)
#define MODULE_ALIAS(text) MODULE_INFO(alias, text)
#define MODULE_SOFTDEP(text) MODULE_INFO(softdep, text)
#define MODULE_PARM_DESC(name, text) MODULE_INFO(parm, #name ":" text)
#define module_param(name, type, mode) MODULE_INFO(parmtype, #name ":" #type)

struct kernel_symbol { const void *value; const char *name; };
struct modversion_info { unsigned long crc; char name[56]; };
#define EXPORT_SYMBOL_IN(symbol, table) \
	static const char __kstrtab_##symbol[] __attribute__((used, section("__ksymtab_strings"), aligned(1))) = #symbol; \
	const struct kernel_symbol __ksymtab_##symbol __attribute__((used, section(table))) = { &symbol, __kstrtab_##symbol }
#define EXPORT_SYMBOL(symbol) EXPORT_SYMBOL_IN(symbol, "__ksymtab")
#define EXPORT_SYMBOL_GPL(symbol) EXPORT_SYMBOL_IN(symbol, "__ksymtab_gpl")

#define module_init(function) int init_module(void) __attribute__((alias(#function)))
#define module_exit(function) void cleanup_module(void) __attribute__((alias(#function)))

int _printk(const char *format, ...);
#define pr_info(...) _printk(__VA_ARGS__)

#endif
