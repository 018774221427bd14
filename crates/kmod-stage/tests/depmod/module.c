/* A relocatable file that depmod takes for a kernel module: -DNAME, -DRELEASE, -DDEPENDS, -DEXPORTS, -DUSES. */
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define INFO(id, text) \
	static const char id[] __attribute__((section(".modinfo"), used, aligned(1))) = text;
INFO(name, "name=" TEXT(NAME))
INFO(license, "license=GPL")
INFO(depends, "depends=" DEPENDS)
INFO(vermagic, "vermagic=" RELEASE " SMP mod_unload ")
INFO(alias, "alias=pci:v0000" TEXT(NAME) "d*")
INFO(softdep, "softdep=pre: crc32c")
#ifdef EXPORTS
static const char strings[] __attribute__((section("__ksymtab_strings"), used)) = TEXT(EXPORTS);
#endif
#ifdef USES
extern char USES;
char *use = &USES;
#endif
