"""What stands beside API and function in Terraform's file: role, store, queue and the like."""

from __future__ import annotations

_ROLE = """\
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
"""

# All that the function may do.
POLICY = f"""\
resource "aws_iam_role" "function" {{
  name_prefix = "<<role_prefix>>"
{_ROLE}}}

# All that the function may do.
resource "aws_iam_role_policy" "function" {{
  name = "function"
  role = aws_iam_role.function.id
  policy = jsonencode({{
    Version = "2012-10-17"
    Statement = [
      # Post to clients, ask for them and close them: those of this API and stage.
      {{
        Effect   = "Allow"
        Action   = ["execute-api:ManageConnections"]
        Resource = "${{aws_apigatewayv2_api.websocket.execution_arn}}/<<stage>>/*/@connections/*"
      }},
      {{
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${{aws_cloudwatch_log_group.function.arn}}:*"
      }},
%if dynamodb
      {{
        Effect = "Allow"
        Action = [
<<table_actions>>
        ]
        Resource = aws_dynamodb_table.connections.arn
      }},
%end
%if s3
      {{
        Effect = "Allow"
        Action = [
<<object_actions>>
        ]
        Resource = "${{aws_s3_bucket.connections.arn}}/*"
      }},
      {{
        Effect = "Allow"
        Action = [
<<bucket_actions>>
        ]
        Resource = aws_s3_bucket.connections.arn
      }},
%end
%if fanout
      {{
        Effect = "Allow"
        Action = [
<<queue_actions>>
        ]
        Resource = aws_sqs_queue.parts.arn
      }},
%end
%if in_vpc
      # Lambda puts the function into the subnets in its name; these know no resources.
      {{
        Effect = "Allow"
        Action = [
<<network_actions>>
        ]
        Resource = "*"
      }},
%end
    ]
  }})
}}
"""

PARTS = f"""\
resource "aws_cloudwatch_log_group" "function" {{
  name              = "/aws/lambda/<<name>>"
  retention_in_days = <<log_days>>
}}
%if logs

resource "aws_cloudwatch_log_group" "access" {{
  name              = "/aws/apigateway/<<name>>"
  retention_in_days = <<log_days>>
}}
%end
%if answers_http

# The app's HTTP routes, by the same function.
resource "aws_apigatewayv2_api" "http" {{
  name          = "<<name>>-http"
  protocol_type = "HTTP"
}}

resource "aws_apigatewayv2_integration" "http" {{
  api_id                 = aws_apigatewayv2_api.http.id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.function.invoke_arn
  payload_format_version = "2.0"
}}

resource "aws_apigatewayv2_route" "http" {{
  api_id    = aws_apigatewayv2_api.http.id
  route_key = "$default" # all paths and methods
  target    = "integrations/${{aws_apigatewayv2_integration.http.id}}"
}}

resource "aws_apigatewayv2_stage" "http" {{
  api_id      = aws_apigatewayv2_api.http.id
  name        = "$default"
  auto_deploy = true
%if logs

  access_log_settings {{
    destination_arn = aws_cloudwatch_log_group.access.arn
    format = jsonencode({{
<<http_access_log>>
    }})
  }}
%end
}}

resource "aws_lambda_permission" "http" {{
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.function.function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${{aws_apigatewayv2_api.http.execution_arn}}/*"
}}
%end
%if domain

# Once the stack is there, point <<domain>> to what the output domain_target says, in your DNS.
resource "aws_apigatewayv2_domain_name" "websocket" {{
  domain_name = "<<domain>>"

  domain_name_configuration {{
    certificate_arn = var.certificate_arn
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2"
  }}
}}

resource "aws_apigatewayv2_api_mapping" "websocket" {{
  api_id      = aws_apigatewayv2_api.websocket.id
  domain_name = aws_apigatewayv2_domain_name.websocket.id
  stage       = aws_apigatewayv2_stage.websocket.id
}}
%end
%if dynamodb

# Where connections are kept: each for `ttl` seconds at most, two hours and ten minutes.
resource "aws_dynamodb_table" "connections" {{
%if resource
  name = "<<resource>>" # as the code says
%else
  name = "<<name>>-connections"
%end
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "pk"
  range_key    = "sk"

  attribute {{
    name = "pk"
    type = "S"
  }}

  attribute {{
    name = "sk"
    type = "S"
  }}

  ttl {{
    attribute_name = "<<ttl_attribute>>"
    enabled        = true
  }}
}}
%end
%if s3

# Where connections are kept: each for `ttl` seconds at most, two hours and ten minutes. The bucket
# cannot be destroyed before it is empty.
resource "aws_s3_bucket" "connections" {{
%if resource
  bucket = "<<resource>>" # as the code says
%else
  bucket_prefix = "<<bucket_prefix>>"
%end
}}

resource "aws_s3_bucket_public_access_block" "connections" {{
  bucket                  = aws_s3_bucket.connections.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}}

# What is left behind is deleted after <<bucket_days>> days.
resource "aws_s3_bucket_lifecycle_configuration" "connections" {{
  bucket = aws_s3_bucket.connections.id

  rule {{
    id     = "expired"
    status = "Enabled"

    filter {{}}

    expiration {{
      days = <<bucket_days>>
    }}
  }}
}}
%end
%if fanout

# Sends to more than 1,000 members go to this queue in parts, and from there to the function, in as
# many processes as maximum_concurrency allows. Keep it private: who can write to it can speak to
# clients.
resource "aws_sqs_queue" "parts" {{
  name                       = "<<name>>-parts"
  sqs_managed_sse_enabled    = true
  visibility_timeout_seconds = <<visibility_timeout>> # six times the function's timeout
  redrive_policy = jsonencode({{
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = <<receives>>
  }})
}}

# Parts that failed each time.
resource "aws_sqs_queue" "dead_letters" {{
  name                      = "<<name>>-dead-letters"
  sqs_managed_sse_enabled   = true
  message_retention_seconds = <<dead_letter_seconds>> # <<dead_letter_days>> days
}}

resource "aws_lambda_event_source_mapping" "parts" {{
  event_source_arn        = aws_sqs_queue.parts.arn
  function_name           = aws_lambda_function.function.arn
  batch_size              = <<batch_size>> # a part has 1,000 members already
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {{
    maximum_concurrency = <<queue_concurrency>> # with 512 MB about 2,200 messages a second each
  }}
}}
%end
%if sweep

# Finds connections that are gone though no $disconnect came, and tells the app. It asks about 50
# connections a second, and has the function's timeout: with more than <<swept>> connections raise
# that, or give the event a "rate".
resource "aws_cloudwatch_event_rule" "sweep" {{
  name                = "<<name>>-sweep"
  schedule_expression = "rate(<<sweep_minutes>> minutes)"
}}

resource "aws_cloudwatch_event_target" "sweep" {{
  rule  = aws_cloudwatch_event_rule.sweep.name
  arn   = aws_lambda_function.function.arn
  input = jsonencode(<<sweep_event>>)
}}

resource "aws_lambda_permission" "sweep" {{
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.function.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.sweep.arn
}}
%end
%if authorizer

# Decides who may connect. Without what identity_sources name the client gets 401, and nobody is
# asked.
resource "aws_apigatewayv2_authorizer" "authorizer" {{
  name            = "authorizer"
  api_id          = aws_apigatewayv2_api.websocket.id
  authorizer_type = "REQUEST"
  authorizer_uri  = aws_lambda_function.authorizer.invoke_arn
  identity_sources = [
<<identity_source>>
  ]
}}

resource "aws_lambda_permission" "authorizer" {{
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.authorizer.function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "<<execution_arn>>/authorizers/${{aws_apigatewayv2_authorizer.authorizer.id}}"
}}

# It has the same code, and none of the function's permissions.
resource "aws_lambda_function" "authorizer" {{
  function_name    = "<<name>>-authorizer"
  filename         = var.bundle
  source_code_hash = filebase64sha256(var.bundle)
  handler          = "<<authorizer>>"
  runtime          = "python<<python>>"
  architectures    = ["<<architecture>>"]
  memory_size      = 256
  timeout          = 10
  role             = aws_iam_role.authorizer.arn

  logging_config {{
    log_group = aws_cloudwatch_log_group.function.name
%if logs
    log_format            = "JSON"
    application_log_level = "INFO"
    system_log_level      = "INFO" # with what each event is billed
%else
    log_format = "Text"
%end
  }}
}}

resource "aws_iam_role" "authorizer" {{
  name_prefix = "<<authorizer_prefix>>"
{_ROLE}}}

resource "aws_iam_role_policy" "authorizer" {{
  name = "authorizer"
  role = aws_iam_role.authorizer.id
  policy = jsonencode({{
    Version = "2012-10-17"
    Statement = [{{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = "${{aws_cloudwatch_log_group.function.arn}}:*"
    }}]
  }})
}}
%end
%if alarms

# Alarms go to this topic: subscribe to it, as in
#   aws sns subscribe --protocol email --notification-endpoint YOU --topic-arn (output alarm_topic)
resource "aws_sns_topic" "alarms" {{
  name = "<<name>>-alarms"
}}

<<each_alarm>>
%end
"""

ALARM = """\
resource "aws_cloudwatch_metric_alarm" "<<label>>" {
  alarm_name        = "<<stack>>-<<label>>"
  alarm_description = <<why>>
  namespace         = "<<namespace>>"
  metric_name       = "<<metric>>"
  dimensions = {
<<dimensions>>
  }
  statistic           = "<<statistic>>"
  period              = <<period>>
  evaluation_periods  = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = <<threshold>>
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}
"""
