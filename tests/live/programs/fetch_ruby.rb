# Fetches URLs by Ruby's net/http into files 0, 1, 2, … over one connection.
#
#     fetch_ruby.rb --cafile FILE [--post FOLDER] URL…
#
# With --post, sends to each URL the file of FOLDER that has its last name.
require "net/http"
require "optparse"

options = {}
urls = OptionParser.new do |parser|
  parser.on("--cafile FILE")
  parser.on("--post FOLDER")
end.parse(ARGV, into: options).map { |url| URI(url) }

http = Net::HTTP.new(urls[0].host, urls[0].port, nil)
http.use_ssl = true
http.ca_file = options[:cafile]
http.start do
  urls.each_with_index do |url, number|
    response =
      if options[:post]
        body = File.binread(File.join(options[:post], File.basename(url.path)))
        http.post(url.path, body, "Content-Type" => "application/octet-stream")
      else
        http.get(url.path, "Accept-Encoding" => "identity")
      end
    abort "#{url}: #{response.code}" if response.code != "200"
    File.binwrite(number.to_s, response.body || "")
  end
end
