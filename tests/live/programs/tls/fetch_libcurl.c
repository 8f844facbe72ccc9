// Gets URLs by libcurl, whichever it is linked with, on one connection, into
// the files 0, 1, … of its directory. libcurl's headers are not needed.
#include <stdio.h>

typedef void CURL;
CURL *curl_easy_init(void);
int curl_easy_setopt(CURL *, int, ...);
int curl_easy_perform(CURL *);
void curl_easy_cleanup(CURL *);

enum {
	CURLOPT_WRITEDATA = 10001,
	CURLOPT_URL = 10002,
	CURLOPT_SSL_VERIFYPEER = 64,
	CURLOPT_SSL_VERIFYHOST = 81,
	CURLOPT_HTTP_VERSION = 84,
	CURLOPT_FAILONERROR = 45,
};

int main(int count, char **urls)
{
	CURL *curl = curl_easy_init();

	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
	// HTTP/1.1
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, 2L);
	for (int number = 1; number < count; number++) {
		char name[16];
		FILE *file;
		int error;

		snprintf(name, sizeof(name), "%d", number - 1);
		file = fopen(name, "w");
		curl_easy_setopt(curl, CURLOPT_URL, urls[number]);
		curl_easy_setopt(curl, CURLOPT_WRITEDATA, file);
		error = curl_easy_perform(curl);
		if (fclose(file) || error) {
			fprintf(stderr, "%s: %d\n", urls[number], error);
			return 1;
		}
	}
	curl_easy_cleanup(curl);
	return 0;
}
