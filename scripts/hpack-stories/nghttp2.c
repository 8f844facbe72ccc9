/* Encodes header lists by libnghttp2: one block a line, in hex. */
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS 64

static void fail(const char *what)
{
	fprintf(stderr, "nghttp2: %s\n", what);
	exit(1);
}

int main(void)
{
	static char lines[FIELDS][4096];
	nghttp2_nv fields[FIELDS];
	size_t count = 0;
	nghttp2_hd_deflater *deflater;
	unsigned char block[65536];

	/* What it uses itself; the receiver may allow less. */
	if (nghttp2_hd_deflate_new(&deflater, 65536))
		fail("no deflater");
	while (count < FIELDS && fgets(lines[count], sizeof(lines[0]), stdin)) {
		char *line = lines[count];

		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "table\t", 6)) {
			if (nghttp2_hd_deflate_change_table_size(deflater, atoi(line + 6)))
				fail("size refused");
		} else if (!strncmp(line, "field\t", 6)) {
			char *name = line + 8, *value = strchr(name, '\t');

			if (!value)
				fail("no value");
			*value++ = 0;
			fields[count].name = (unsigned char *)name;
			fields[count].namelen = strlen(name);
			fields[count].value = (unsigned char *)value;
			fields[count].valuelen = strlen(value);
			fields[count].flags = line[6] == '1' ? NGHTTP2_NV_FLAG_NO_INDEX :
							       NGHTTP2_NV_FLAG_NONE;
			count++;
		} else {
			ssize_t n = nghttp2_hd_deflate_hd(deflater, block, sizeof(block), fields, count);

			if (n < 0)
				fail("not encoded");
			for (ssize_t i = 0; i < n; i++)
				printf("%02x", block[i]);
			putchar('\n');
			count = 0;
		}
	}
	nghttp2_hd_deflate_del(deflater);
	return 0;
}
