# Ruby's WEBrick with TLS: the files of a folder, and POST is echoed. Prints
# its port.
#
#     serve_ruby.rb FOLDER CERTIFICATE KEY
require "webrick/https"

folder, certificate, key = ARGV
server = WEBrick::HTTPServer.new(
  BindAddress: "127.0.0.1", Port: 0, AccessLog: [],
  Logger: WEBrick::Log.new(File::NULL),
  StartCallback: -> { puts server.listeners[0].to_io.addr[1]; $stdout.flush },
  SSLEnable: true,
  SSLCertificate: OpenSSL::X509::Certificate.new(File.read(certificate)),
  SSLPrivateKey: OpenSSL::PKey.read(File.read(key)),
)
server.mount_proc("/") do |request, response|
  response["Content-Type"] = "application/octet-stream"
  response.body =
    if request.request_method == "POST"
      request.body || ""
    else
      File.binread(File.join(folder, File.basename(request.path)))
    end
end
server.start
