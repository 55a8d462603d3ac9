module interop/cmq-go

go 1.22

require github.com/TencentCloud/tencentcloud-cmq-sdk-go v1.0.1
